# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A user's module on disk: tagged functions need an importable home."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MODULE = '''
import asyncio
import functools

from turbolift import Docker, K8s, Local, on

@on(K8s(max_scale_n=10), cpu="500m", timeout=5.0)
def double(x: int, *, by: int = 2) -> int:
    """Twice the value."""
    return x * by

@on(Local())
async def later(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1

def loud(fn):
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        return fn(*args, **kwargs) + 100
    return wrapper

@on(Docker())
@loud
def wrapped(x: int) -> int:
    return x

@on(Docker())
@loud
def _private(x: int) -> int:
    return x

class Cart:
    @staticmethod
    @on(Local())
    def total(a: int, b: int) -> int:
        return a + b

    @on(Local())
    @staticmethod
    async def count(items: list[int]) -> int:
        return len(items)

    alias = double
'''


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Any]:
    """The module, fresh."""
    (tmp_path / "user_module.py").write_text(MODULE)
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module("user_module")
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("user_module", None)


@pytest.fixture
def define(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Return a function that imports a module with the given text."""
    names: list[str] = []
    sys.path.insert(0, str(tmp_path))

    def make(text: str) -> Any:
        name = f"defined_{tmp_path.name}_{len(names)}"
        names.append(name)
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield make
    sys.path.remove(str(tmp_path))
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def switch_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURBOLIFT", raising=False)
    monkeypatch.delenv("TURBOLIFT_ROUTES", raising=False)
