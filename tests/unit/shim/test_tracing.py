# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry: one trace from the caller over the server to the calls that the function makes, by the real SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

# Set up as a user's service would: in a module that is imported with the function.
SETUP = """
import json, os
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class ToFile(SpanExporter):
    def export(self, spans):
        with open(os.environ["SPANS"], "a") as file:
            for span in spans:
                parent = span.parent
                file.write(json.dumps({
                    "name": span.name,
                    "kind": span.kind.name,
                    "trace": f"{span.context.trace_id:032x}",
                    "span": f"{span.context.span_id:016x}",
                    "parent": parent and f"{parent.span_id:016x}",
                    "state": span.context.trace_state.to_header(),
                    "status": span.status.status_code.name,
                    "attributes": dict(span.attributes),
                    "events": [event.name for event in span.events],
                    "pid": os.getpid(),
                }) + "\\n")
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ToFile()))
trace.set_tracer_provider(provider)
"""

FUNCTIONS = """
import os
if os.environ.get("SPANS"):
    import traced_setup
from opentelemetry import trace
from turbolift import Local, on

def work(a):
    with trace.get_tracer("user").start_as_current_span("the user's own"):
        if a < 0:
            raise ValueError(a)
        return a + 1

@on(Local())
def in_thread(a: int) -> int:
    return work(a)

@on(Local(), workers="loop")
def on_loop(a: int) -> int:
    return work(a)

@on(Local(), workers="processes", concurrency=1)
def in_process(a: int) -> int:
    return work(a)

@on(Local())
async def outer(a: int) -> int:
    return await in_thread(a)
"""

PROGRAM = """
import asyncio, sys
import traced
if sys.argv[1] == "root":
    from opentelemetry import trace
    with trace.get_tracer("user").start_as_current_span("the program"):
        print(getattr(traced, sys.argv[2]).call(int(sys.argv[3])))
elif sys.argv[1] == "state":
    from opentelemetry import context, trace
    state = trace.TraceState([("vendor", "1")])
    parent = trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=state)
    context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    print(getattr(traced, sys.argv[2]).call(int(sys.argv[3])))
else:
    try:
        print(getattr(traced, sys.argv[2]).call(int(sys.argv[3])))
    except ValueError as error:
        print("ValueError", error)
"""


@pytest.fixture(scope="module", autouse=True)
def traced_modules(modules: Path) -> None:
    (modules / "traced_setup.py").write_text(SETUP)
    (modules / "traced.py").write_text(FUNCTIONS)


def call(tmp_path: Path, *arguments: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Call in a program of its own; return what it printed, and all spans so far by kind and name."""
    spans = tmp_path / "spans"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SPANS": str(spans), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    found = [json.loads(line) for line in spans.read_text().splitlines()]
    return done.stdout.strip(), {f"{span['kind']} {span['name']}": span for span in found}


@pytest.mark.parametrize("name", ["in_thread", "on_loop", "in_process"])
def test_one_trace(deployment: Any, tmp_path: Path, name: str) -> None:
    deployment.start(f"traced:{name}", SPANS=str(tmp_path / "spans"))
    said, spans = call(tmp_path, "root", name, "1")
    assert said == "2"
    program = spans["INTERNAL the program"]
    client = spans[f"CLIENT traced/{name}"]
    server = spans[f"SERVER traced/{name}"]
    inner = spans["INTERNAL the user's own"]
    assert len(spans) == 4
    assert {span["trace"] for span in spans.values()} == {program["trace"]}
    assert client["parent"] == program["span"]
    assert server["parent"] == client["span"]
    assert inner["parent"] == server["span"]
    assert client["pid"] != server["pid"]
    for span in (client, server):
        assert span["attributes"]["rpc.system.name"] == "turbolift"
        assert span["attributes"]["rpc.method"] == f"traced/{name}"
        assert span["attributes"]["turbolift.function"] == f"traced:{name}"
        assert span["status"] == "UNSET"
    assert client["attributes"]["turbolift.key"] == server["attributes"]["turbolift.key"]
    assert client["attributes"]["network.transport"] == "unix"
    assert server["attributes"]["rpc.response.status_code"] == "ok"
    assert server["attributes"]["http.response.status_code"] == 200


def test_a_nested_call_and_no_span_of_the_program(deployment: Any, tmp_path: Path) -> None:
    inside = deployment.start("traced:in_thread", "--log-level", "debug", SPANS=str(tmp_path / "spans"))
    deployment.start("traced:outer", SPANS=str(tmp_path / "spans"))
    said, spans = call(tmp_path, "none", "outer", "1")
    assert said == "2"
    chain = ["CLIENT traced/outer", "SERVER traced/outer", "CLIENT traced/in_thread", "SERVER traced/in_thread",
             "INTERNAL the user's own"]  # fmt: skip
    assert spans.keys() == set(chain)
    parents = [spans[name]["parent"] for name in chain]
    assert parents == [None, *(spans[name]["span"] for name in chain[:-1])]
    logged = inside.logged("call")[-1]
    assert logged["traceparent"].split("-")[1:3] == [
        spans["CLIENT traced/outer"]["trace"],
        spans["CLIENT traced/in_thread"]["span"],
    ]
    assert logged["key"] == spans["SERVER traced/in_thread"]["attributes"]["turbolift.key"]


def test_a_server_without_opentelemetry_between(deployment: Any, tmp_path: Path) -> None:
    deployment.start("traced:in_thread", SPANS=str(tmp_path / "spans"))
    deployment.start("traced:outer", SPANS="")
    said, spans = call(tmp_path, "none", "outer", "1")
    assert said == "2"
    assert len(spans) == 3
    assert len({span["trace"] for span in spans.values()}) == 1


def test_the_state_of_a_trace_travels(deployment: Any, tmp_path: Path) -> None:
    deployment.start("traced:on_loop", SPANS=str(tmp_path / "spans"))
    _, spans = call(tmp_path, "state", "on_loop", "1")
    assert len(spans) == 3
    assert {(span["trace"], span["state"]) for span in spans.values()} == {(f"{7:032x}", "vendor=1")}


def test_an_error(deployment: Any, tmp_path: Path) -> None:
    deployment.start("traced:in_thread", SPANS=str(tmp_path / "spans"))
    said, spans = call(tmp_path, "none", "in_thread", "-1")
    assert said == "ValueError -1"
    client, server = spans["CLIENT traced/in_thread"], spans["SERVER traced/in_thread"]
    assert (client["status"], server["status"]) == ("ERROR", "ERROR")
    assert client["attributes"]["error.type"] == "ValueError"
    assert server["attributes"]["error.type"] == "raised"
    assert client["events"] == ["exception"]
