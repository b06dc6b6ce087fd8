# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin as users meet it: in runs of pytest of their own, and as docs/testing.md tells it."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import turbolift

pytest_plugins = ("pytester",)

ROOT = Path(turbolift.__file__).absolute().parents[3]
# Pants gives relative ones, and the tests change folders.
PATHS = [os.path.abspath(path) for path in sys.path if path]
SHOP = """
from turbolift import Local, on

@on(Local())
def double(a: int) -> int:
    return 2 * a

@on(Local())
def grow(items: list[int]) -> list[int]:
    items.append(0)
    return items
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of tests with a module ``shop``, run by a pytest in another process."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pytester.path), *PATHS]))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("TURBOLIFT", raising=False)
    pytester.makepyfile(shop=SHOP)
    return pytester


def outcomes(run: pytest.Pytester, *options: str) -> dict[str, int]:
    if find_spec("pytest_asyncio") is not None and "no:asyncio" not in options:
        options = ("-o", "asyncio_default_fixture_loop_scope=function", *options)
    done = run.runpytest_subprocess("-W", "error", "-q", *options)
    return dict(done.parseoutcomes())


TESTS = """
import pytest
from shop import double, grow
from turbolift import is_distributed

def test_all(distributed):
    assert is_distributed()
    assert double.call(2) == 4
    assert len(distributed.calls) == 1

@pytest.mark.distributed(only=[grow])
def test_some(distributed):
    double.call(2)
    items = []
    assert grow.call(items) == [0]
    assert items == []
    assert [call.function for call in distributed.calls] == ["shop:grow"]

def test_none():
    items = []
    grow.call(items)
    assert items == [0]

@pytest.mark.distributed("grow")
def test_a_wrong_marker(distributed):
    pass

@pytest.mark.distributed(only=[len])
def test_no_tagged_function(distributed):
    pass
"""


def test_by_pytest_plugins(run: pytest.Pytester) -> None:
    run.makeconftest('pytest_plugins = ["turbolift.testing.plugin"]')
    run.makepyfile(TESTS)
    assert outcomes(run, "--strict-markers") == {"passed": 3, "errors": 2}


def test_by_the_entry_point_of_the_wheel(run: pytest.Pytester) -> None:
    source = ROOT / "src/python/pyproject.toml"
    points = tomllib.loads(source.read_text("utf-8"))["project"]["entry-points"]["pytest11"]
    folder = run.mkdir("turbolift_runtime-0.1.0.dist-info")
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: turbolift-runtime\nVersion: 0.1.0\n")
    lines = [f"{name} = {module}" for name, module in points.items()]
    (folder / "entry_points.txt").write_text("[pytest11]\n" + "\n".join(lines) + "\n")
    run.makepyfile(TESTS)
    assert outcomes(run, "--strict-markers") == {"passed": 3, "errors": 2}
    # Said twice does no harm.
    run.makeconftest('pytest_plugins = ["turbolift.testing.plugin"]')
    assert outcomes(run, "--strict-markers") == {"passed": 3, "errors": 2}


def test_the_plugin_alone_imports_nothing_dear(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import sys

        def test_it():
            dear = {"turbolift.client", "turbolift.shim", "turbolift.contract", "aiohttp", "msgspec"}
            assert dear & set(sys.modules) == set()
        """
    )
    options = ("-p", "turbolift.testing.plugin", "-p", "no:anyio", "-p", "no:asyncio")
    assert outcomes(run, *options) == {"passed": 1}


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_with_the_usual_plugins_for_coroutines(run: pytest.Pytester, plugin: str) -> None:
    pytest.importorskip(f"pytest_{plugin}" if plugin == "asyncio" else plugin)
    run.makeconftest('pytest_plugins = ["turbolift.testing.plugin"]')
    run.makepyfile(
        f"""
        import pytest
        from shop import double

        pytestmark = pytest.mark.{plugin}

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_one(distributed):
            assert await double(2) == 4
            assert await double.map(range(3)) == [0, 2, 4]
            assert len(distributed.calls_of(double)) == 4

        async def test_two(distributed, faults):
            faults.refuse(double)
            assert await double(2) == 4
            assert len(distributed.calls_of(double)[0].attempts) == 2
        """
    )
    assert outcomes(run) == {"passed": 2}


def test_with_trio_by_the_blocking_call(run: pytest.Pytester) -> None:
    pytest.importorskip("trio")
    pytest.importorskip("anyio")
    run.makeconftest('pytest_plugins = ["turbolift.testing.plugin"]')
    run.makepyfile(
        """
        import anyio.to_thread
        import pytest
        from shop import double

        @pytest.fixture
        def anyio_backend():
            return "trio"

        @pytest.mark.anyio
        async def test_one(distributed):
            assert await anyio.to_thread.run_sync(double.call, 2) == 4
            assert distributed.calls_of(double)[0].result == 4
        """
    )
    assert outcomes(run) == {"passed": 1}


def test_what_the_documentation_says(run: pytest.Pytester) -> None:
    text = (ROOT / "docs/testing.md").read_text("utf-8")
    files = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", text, re.S)
    assert len(files) >= 4
    for name, body in files:
        path = run.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(body)
    (run.path / "shop.py").unlink()
    tests = sum(body.count("\ndef test_") + body.count("\nasync def test_") for _, body in files)
    assert tests >= 6
    if "pytest.mark.asyncio" in text:
        pytest.importorskip("pytest_asyncio")
    assert outcomes(run) == {"passed": tests}
