# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a server does, and does not, before its first answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from turbolift.shim import arguments
from turbolift.wire.choice import lane_is_on
from turbolift.wire.headers import function_path

# What the standard library, aiohttp and turbolift have for calls that are rare, and programs that do other things.
NEEDLESS = {
    "aiohttp", "argparse", "bz2", "email", "http", "importlib.metadata", "ipaddress", "jsonschema", "lzma", "multiprocessing",
    "numpy", "pathlib", "prometheus_client", "pydantic", "shutil", "turbolift.client", "turbolift.shim.describe",
    "turbolift.shim.openapi", "turbolift.shim.processes", "turbolift.shim.tls", "turbolift.shim.web", "turbolift.wire.failure",
    "turbolift.wire.tls", "urllib.parse",
}  # fmt: skip

LOOK = """
import sys

from turbolift import Local, on


@on(Local(), workers="loop")
def modules() -> list[str]:
    return sorted(sys.modules)
"""

CALL = (
    b"POST /v1/functions/served_look:modules HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b'Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{"args": {}}'
)


@pytest.fixture
def modules(deployment: Any, get: Any) -> Callable[[], set[str]]:
    """A server that just starts: each call gives what it has imported by then."""
    (deployment.folder / "served_look.py").write_text(LOOK)
    path = os.pathsep.join([str(deployment.folder), *filter(None, sys.path)])
    shim = deployment.start("served_look:modules", ready=False, PYTHONPATH=path)

    def call() -> set[str]:
        end = time.monotonic() + 60
        while time.monotonic() < end and shim.process.poll() is None:
            with suppress(OSError, IndexError):
                status, _, answer = get(shim.endpoint, "", raw=CALL)
                if status == 200:
                    return set(json.loads(answer)["result"])
            time.sleep(0.002)
        raise AssertionError(shim.text())

    return call


@pytest.mark.skipif(not lane_is_on(), reason="aiohttp is what is asked for")
def test_a_server_starts_with_what_a_call_needs_alone(modules: Callable[[], set[str]]) -> None:
    # What starts each interpreter here, as files of editable packages do, is no matter of ours.
    program = "import asyncio, msgspec, sys, uvloop; print(*sys.modules)"
    others = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (modules() & NEEDLESS) - set(others.stdout.split()) == set()


def test_what_failures_need_is_there_when_the_start_is_over(modules: Callable[[], set[str]]) -> None:
    end = time.monotonic() + 60
    while "turbolift.wire.failure" not in modules():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    "line",
    [
        "--function m:f",
        "--function m:f --uds /run/s",
        "--function m:f --port 0 --host ::1",
        "--grace 1.5 --function m:f --port 81 --log-level debug",
        "--function m:f --tls /certificates --probe-port 9000",
    ],
)
@pytest.mark.parametrize(
    "environ",
    [{}, {"TURBOLIFT_GRACE": "4", "TURBOLIFT_TLS": "/t", "TURBOLIFT_PROBE_PORT": "9001"}],
    ids=["bare", "environ"],
)
def test_the_usual_command_line_is_read_as_argparse_reads_it(
    line: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    quick = arguments.usual(line.split())
    assert quick is not None
    whole = arguments._argparser().parse_args(line.split(), arguments.Arguments())
    assert vars(quick) == vars(whole)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "--port 80",
        "--function",
        "--function m:f --port",
        "--function m:f --port eighty",
        "--function m:f --port 80 --port 81",
        "--function m:f --port 80 --uds /run/s",
        "--function m:f --grace soon",
        "--function m:f --log-level loud",
        "--function m:f --describe d.json",
        "--function=m:f",
        "--func m:f",
        "--function m:f --more 1",
        "--function --port 80 m:f",
    ],
)
def test_any_other_command_line_is_left_to_argparse(line: str) -> None:
    assert arguments.usual(line.split()) is None


def test_the_collector_looks_as_usual_when_the_start_is_over() -> None:
    program = (
        "import gc\nfrom turbolift.shim import early\nusual = gc.get_threshold()\nearly.collect_rarely()\n"
        "assert gc.get_threshold()[0] == early.YOUNG\nearly.started()\nassert gc.get_threshold() == usual\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 0\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_what_a_large_import_leaves_behind_is_collected() -> None:
    program = (
        "import gc, weakref\nfrom turbolift.shim import early\n\nclass Node: pass\n\nearly.collect_rarely()\n"
        "node = Node()\nnode.itself = node\ngone = weakref.ref(node)\ndel node\n"
        "kept = [[] for _ in range(early.YOUNG + 1000)]\nearly.started()\nassert gone() is None\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("identity", "path"),
    [
        ("shop.pricing:quote", "shop.pricing:quote"),
        ("m_1:Class.f", "m_1:Class.f"),
        ("m:größe", "m:gr%C3%B6%C3%9Fe"),
        ("m:a/b", "m:a%2Fb"),
        ("m:a%", "m:a%25"),
        (":._", ":._"),
    ],
)
def test_a_path_is_quoted_where_it_must_be(identity: str, path: str) -> None:
    assert function_path(identity) == f"/v1/functions/{path}"
