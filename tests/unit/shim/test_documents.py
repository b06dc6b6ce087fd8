# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a server says of itself: describe, schema, OpenAPI, metrics, logs, version."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from turbolift.spec import load


def describe(identity: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "turbolift.shim", "--function", identity, "--describe", str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )


def test_describe(tmp_path: Path, served: Any) -> None:
    done = describe("served:is_warm", tmp_path / "d.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    document = load("describe", tmp_path / "d.json")
    assert document["function"] == "served:is_warm"
    assert document["doc"] == "How often it was warmed."
    assert document["contract"]["digest"] == served.is_warm.contract.digest
    assert document["platform"] == {"kind": "k8s", "max_scale_n": 4, "namespace": "shop", "context": None}
    assert document["options"] == {
        "cpu": "250m",
        "memory": "64Mi",
        "timeout": 60.0,
        "concurrency": 8,
        "queue": 128,
        "max_scale_n": 4,
        "env": {"MODE": "x"},
        "pure": False,
        "idempotent": False,
        "workers": "threads",
        "warm": "served:warm",
        "max_payload": 64 << 20,
    }
    first = (tmp_path / "d.json").read_bytes()
    describe("served:is_warm", tmp_path / "d.json")
    assert (tmp_path / "d.json").read_bytes() == first
    assert os.listdir(tmp_path) == ["d.json"]


@pytest.mark.parametrize("identity", ["served:aact", "served:pact", "served:Cart.total", "served:pure"])
def test_describe_is_valid(tmp_path: Path, identity: str) -> None:
    assert describe(identity, tmp_path / "d").returncode == 0
    assert load("describe", tmp_path / "d")["function"] == identity


def test_a_platform_of_the_users_own(tmp_path: Path) -> None:
    assert describe("served_platform:f", tmp_path / "d").returncode == 0
    assert load("describe", tmp_path / "d")["platform"] == {"kind": "edge", "region": "north"}
    done = describe("served_platform:g", tmp_path / "e")
    assert done.returncode == 78
    assert "describe() is not JSON" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "e").exists()


def test_what_cannot_be_described(tmp_path: Path, modules: Path) -> None:
    done = describe("served_hintless:f", tmp_path / "d")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{modules}/served_hintless.py:4")
    assert "a" in done.stderr
    done = describe("served_broken:f", tmp_path / "d")
    assert done.returncode == 78
    assert "served_broken.py" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("ZeroDivisionError: division by zero")
    done = describe("served:act", tmp_path / "no" / "d")
    assert done.returncode == 78
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "d").exists()


def test_a_signal_while_describing_is_an_error(deployment: Any, tmp_path: Path) -> None:
    go = tmp_path / "go"
    options = ("--describe", str(tmp_path / "d"), "--uds", "unused")
    shim = deployment.start("served_slow:f", *options, ready=False, GO=str(go))
    end = time.monotonic() + 60
    while not (tmp_path / "go.seen").exists():
        assert time.monotonic() < end, shim.text()
        time.sleep(0.01)
    assert shim.stop() == -signal.SIGTERM
    assert not (tmp_path / "d").exists()


def test_schema_and_openapi(standing: Callable[..., Any], served: Any, get: Any) -> None:
    shim = standing("served:act")
    document = json.loads(get(shim.endpoint, "/v1/schema")[2])
    assert document["contract"]["digest"] == served.act.contract.digest
    openapi = json.loads(get(shim.endpoint, "/v1/openapi.json")[2])
    assert openapi == document["openapi"]
    assert openapi["openapi"] == "3.1.0"
    operation = openapi["paths"]["/v1/functions/served:act"]["post"]
    assert operation["summary"] == "Do what it is told."
    envelope = operation["requestBody"]["content"]["application/json"]["schema"]
    whole = {**envelope, "components": openapi["components"]}
    validator = jsonschema.Draft202012Validator(whole)
    assert validator.is_valid({"args": {"what": "echo"}})
    assert not validator.is_valid({"args": {"what": 3}})
    assert not validator.is_valid({"args": {}})
    assert {"400", "409", "413", "422", "500", "503", "504"} <= operation["responses"].keys()


def test_references_of_the_contract_stay_whole_in_openapi() -> None:
    from turbolift.shim.openapi import _hoist

    components: dict[str, Any] = {}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
        "type": "object",
        "properties": {"node": {"$ref": "#/$defs/Node"}},
    }
    hoisted = _hoist(schema, "arguments", components)
    assert hoisted == {
        "type": "object",
        "properties": {"node": {"$ref": "#/components/schemas/arguments.Node"}},
    }
    assert components["arguments.Node"]["properties"]["next"]["$ref"] == "#/components/schemas/arguments.Node"


def test_metrics_count_what_happened(deployment: Any, served: Any, get: Any) -> None:
    shim = deployment.start("served:act", TURBOLIFT_VERSION="v7")
    for _ in range(3):
        served.act.call("echo")
    with pytest.raises(ValueError, match="no"):
        served.act.call("value", "no")
    text = get(shim.endpoint, "/metrics")[2].decode()
    assert 'turbolift_calls_total{function="served:act",outcome="ok"} 3.0' in text
    assert 'turbolift_calls_total{function="served:act",outcome="raised"} 1.0' in text
    assert 'turbolift_call_seconds_count{function="served:act"} 4.0' in text
    assert 'turbolift_call_seconds_bucket{function="served:act",le="+Inf"} 4.0' in text
    assert 'turbolift_slots{function="served:act"} 2.0' in text
    assert 'version="v7"' in text
    assert "process_resident_memory_bytes" in text


def test_the_version_is_in_every_answer(deployment: Any, get: Any, http: Any) -> None:
    shim = deployment.start("served:act", TURBOLIFT_VERSION="v7")
    body = b'{"args": {"what": "echo"}}'
    for identity in ("served:act", "served:other"):
        head = get(
            shim.endpoint,
            "",
            raw=f"POST /v1/functions/{identity} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body,
        )[1]
        assert b"turbolift-version: v7" in head.lower()


def test_log_lines_are_json(deployment: Any, served: Any) -> None:
    shim = deployment.start("served:act", "--log-level", "debug")
    served.act.call("echo")
    with pytest.raises(ValueError, match="no"):
        served.act.call("value", "no")
    assert shim.stop() == 0
    lines = [json.loads(line) for line in shim.text().splitlines()]
    assert [line["event"] for line in lines] == ["ready", "call", "call", "draining", "stopped"]
    assert [line.get("outcome") for line in lines[1:3]] == ["ok", "raised"]
    assert all(len(line["key"]) == 32 and line["traceparent"].startswith("00-") for line in lines[1:3])
    # One trace a call, not one for the process.
    assert lines[1]["traceparent"].split("-")[1] != lines[2]["traceparent"].split("-")[1]


def test_a_nested_call_is_in_the_same_trace(standing: Callable[..., Any], served: Any) -> None:
    standing("served:aact", "served:quick")
    outer_shim = standing("served:aact")
    inner_shim = standing("served:quick")
    served.aact.call("nested", "traced")
    outer = outer_shim.logged("call")[-1]["traceparent"].split("-")
    inner = inner_shim.logged("call")[-1]["traceparent"].split("-")
    assert outer[1] == inner[1]
    assert outer[2] != inner[2]


def test_unknown_paths_and_methods(standing: Callable[..., Any], get: Any) -> None:
    shim = standing("served:act")
    assert get(shim.endpoint, "/nothing")[0] == 404
    assert get(shim.endpoint, "/v1/functions/served:act")[0] == 405
    assert get(shim.endpoint, "/healthz")[0] == 200
    assert get(shim.endpoint, "/readyz")[0] == 200


def test_what_a_function_calls_is_in_its_servers_metrics(
    deployment: Any, served: Any, get: Callable[..., Any]
) -> None:
    deployment.start("served:quick")
    outer = deployment.start("served:aact")
    assert b"turbolift_client" not in get(outer.endpoint, "/metrics")[2]
    served.aact.call("nested", "x")
    text = get(outer.endpoint, "/metrics")[2].decode()
    assert 'turbolift_client_calls_total{function="served:quick",outcome="ok"} 1.0' in text
    assert 'turbolift_calls_total{function="served:aact",outcome="ok"} 1.0' in text
