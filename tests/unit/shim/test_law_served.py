# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Local is remote, over real servers: functions of random signatures and hints are written to a module, served, and called
in random ways with random arguments. What a call gives is what the function gives here, type by type, or the same kind of
exception; or it is refused at the caller, and nothing is sent.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import inspect
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

from turbolift import EncodeError
from unit.contract.same import same
from unit.contract.signatures import PLAIN, Hint, Parameter, Signature, calls, signatures
from unit.contract.values import typed_values, written
from unit.shim.conftest import Deployment, http_get

FUZZ = "FUZZ" in os.environ
CALLS = settings(
    max_examples=int(os.environ.get("FUZZ", 400)),
    derandomize=not FUZZ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
KINDS = st.sampled_from(["async", "async", "loop", "threads", "processes"])
SERVERS = 5
"""Functions of each of two kinds of hints."""
HINTS = 40
WIDE = ["async", "threads", "processes"]
RAISED = [
    *(
        "ValueError",
        "KeyError",
        "OSError",
        "ZeroDivisionError",
        "RuntimeError",
        "AttributeError",
        "NameError",
    ),
    *("TimeoutError", "ConnectionResetError", "FileNotFoundError", "PermissionError", "AssertionError"),
    *("NotImplementedError", "ImportError", "EOFError", "StopAsyncIteration", "OverflowError", "UserWarning"),
    "Refused",
]

ANY = typed_values(2).map(lambda typed: Hint(written(typed[0]), typed[1], plain=False))
HEAD = """
import asyncio
import builtins
import collections
import collections.abc
import datetime
import decimal
import fractions
import ipaddress
import pathlib
import typing
import uuid
import zoneinfo
from math import inf

import unit.contract.shapes
from turbolift import Local, on

class Refused(Exception):
    def __init__(self, why, *, code):
        super().__init__(why)
        self.code = code

@on(Local())
async def raises(kind: str, args: list[object]) -> None:
    if kind == "Refused":
        raise Refused(args, code=len(args))
    raise getattr(builtins, kind)(*args)
"""


class Served(NamedTuple):
    """A function that gives back what it was called with. `wide`: by one of its many parameters at a time."""

    name: str
    signature: Signature
    kind: str
    wide: bool = False

    @property
    def source(self) -> str:
        word = "async def" if self.kind == "async" else "def"
        workers = "" if self.kind == "async" else f", workers={self.kind!r}"
        names = ", ".join(f"{name!r}: {hint}" for name, hint in self.signature.given.items())
        body = (
            "{name: value for name, value in locals().items() if value is not ...}"
            if self.wide
            else "dict(locals())"
        )
        return (
            f"{self.name}_given = typing.TypedDict({self.name + '_given'!r}, {{{names}}}, total=False)\n\n"
            f"@on(Local(){workers})\n"
            f"{word} {self.name}({self.signature.source}) -> {self.name}_given:\n"
            f"    return {body}\n"
        )

    def calls(self) -> st.SearchStrategy[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Calls that it takes, or nearly so."""
        if not self.wide:
            return calls(self.signature)
        each = st.sampled_from(self.signature.keyword)
        return each.flatmap(lambda one: one.hint.values.map(lambda value: ((), {one.name: value})))


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return so many examples, the same each time unless FUZZ is set."""
    found: list[Any] = []

    @settings(CALLS, max_examples=2 * count, phases=[Phase.generate], database=None)
    @given(strategy)
    def collect(one: Any) -> None:
        found.append(one)

    collect()
    return found[-count:]  # the first ones are the simplest


def wide(hints: list[Hint]) -> Signature:
    return Signature([], [], [Parameter(f"p{n}", hint, "...") for n, hint in enumerate(hints)], None, None)


class World(NamedTuple):
    module: Any
    functions: list[Served]
    deployment: Deployment
    runner: asyncio.Runner

    def counted(self, name: str) -> bytes:
        """What the server of a function has answered so far."""
        endpoint = self.deployment.routes[f"{self.module.__name__}:{name}"]["endpoint"]
        lines = http_get(endpoint, "/metrics")[2].splitlines(keepends=True)
        return b"".join(line for line in lines if b"calls_total{" in line)

    def check(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], way: str) -> None:
        """Hold a call to the law."""
        function = getattr(self.module, name)
        note(f"{name}(*{args!r}, **{kwargs!r}) by {way}")
        given_ = copy.deepcopy((args, kwargs))
        here, failed = ended(self, function.local, args, kwargs)
        if way == "await":
            back, error = ended(self, function, args, kwargs)
        else:
            back, error = ended(self, function.call, args, kwargs)
        assert same([*args], [*given_[0]]), "the caller's arguments are changed"
        assert same(kwargs, given_[1]), "the caller's arguments are changed"
        if failed is not None:
            assert type(error) is type(failed), f"here {failed!r}, there {error!r}"
            if name == "raises":
                assert same(list(error.args), list(failed.args)), f"here {failed!r}, there {error!r}"
                assert vars(error).get("code") == vars(failed).get("code")
        elif error is not None:
            raise AssertionError(f"here {here!r}, there {error!r}") from error
        else:
            assert same(back, here), f"here {here!r}, there {back!r}"


def ended(world: World, function: Any, args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    """Return what a call gives, and what it raises."""

    async def awaited(coroutine: Any) -> Any:
        return await coroutine

    try:
        found = function(*args, **kwargs)
        if inspect.iscoroutine(found):
            found = world.runner.run(awaited(found))
        return found, None
    except Exception as error:
        return None, error


@pytest.fixture(scope="module")
def world(modules: Path) -> Iterator[World]:
    """Functions, each served by a process of its own."""
    found = [
        Served(f"f{n}", signature, kind)
        for n, (signature, kind) in enumerate(
            drawn(st.tuples(signatures(PLAIN | ANY), KINDS), SERVERS)
            + drawn(st.tuples(signatures(), KINDS), SERVERS)
        )
    ]
    hints = drawn(ANY, HINTS)
    found += [Served(f"w{n}", wide(hints[n :: len(WIDE)]), kind, wide=True) for n, kind in enumerate(WIDE)]
    name = "served_laws"
    (modules / f"{name}.py").write_text(
        "\n\n".join([HEAD, *(one.source for one in found)]), "utf-8", "surrogatepass"
    )
    module = importlib.import_module(name)
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    with tempfile.TemporaryDirectory(prefix="tl-") as folder, pytest.MonkeyPatch.context() as patch:
        deployment = Deployment(Path(folder))
        patch.setenv("TURBOLIFT", "on")
        patch.setenv("TURBOLIFT_ROUTES", str(deployment.path))
        with asyncio.Runner() as runner:
            try:
                for one in ("raises", *(one.name for one in found)):
                    deployment.start(f"{name}:{one}", ready=False)
                for shim in deployment.shims:
                    shim.wait_until()
                    deployment.publish(shim.identity, shim.endpoint)
                yield World(module, found, deployment, runner)
                for shim in deployment.shims:
                    assert shim.process.poll() is None, shim.text()
                    shim.process.terminate()
                for shim in deployment.shims:
                    assert shim.process.wait(60) == 0, shim.text()
                    assert "internal error" not in shim.text()
                    assert "Traceback" not in shim.text()
            finally:
                deployment.stop()
                runner.run(close())
                sys.set_int_max_str_digits(most)


async def close() -> None:
    """Close this loop's connections."""
    from turbolift.client import aclose

    await aclose()


def test_a_call_there_is_a_call_here(world: World) -> None:
    @CALLS
    @given(st.data())
    def run(data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(world.functions))
        args, kwargs = data.draw(one.calls())
        world.check(one.name, args, kwargs, data.draw(st.sampled_from(["await", "call"])))

    run()


def test_a_call_of_other_values_is_the_same_or_is_not_sent(world: World) -> None:
    @CALLS
    @given(st.data())
    def run(data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(world.functions))
        args, kwargs = data.draw(one.calls())
        places = [*range(len(args)), *kwargs]
        if not places:
            return
        place = data.draw(st.sampled_from(places))
        value = data.draw(data.draw(typed_values(1))[1])
        if isinstance(place, int):
            args = (*args[:place], value, *args[place + 1 :])
        else:
            kwargs[place] = value
        function = getattr(world.module, one.name)
        note(f"{one.name}(*{args!r}, **{kwargs!r})")
        before = world.counted(one.name)
        here, failed = ended(world, function.local, args, kwargs)
        back, error = ended(world, function, args, kwargs)
        if error is None:
            assert same(back, here), f"here {here!r}, there {back!r}"
        else:
            assert isinstance(error, EncodeError) or type(error) is type(failed), (
                f"here {failed!r}, there {error!r}"
            )
            assert world.counted(one.name) == before, f"{error!r}, and yet something was sent"

    run()


@pytest.mark.parametrize("damage", ["more", "fewer", "named"])
def test_what_is_no_call_here_is_none_there(world: World, damage: str) -> None:
    @settings(CALLS, max_examples=60)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(world.functions))
        args, kwargs = data.draw(one.calls())
        if damage == "more":
            assume(one.signature.rest is None)
            args = (*args, 1)
        elif damage == "fewer":
            args = args[:-1]
        else:
            assume(one.signature.others is None)
            kwargs = {**kwargs, "nobody": 1}
        world.check(one.name, args, kwargs, "await")

    run()


def test_what_is_raised_there_is_raised_here(world: World) -> None:
    @settings(CALLS, max_examples=100)
    @given(
        st.sampled_from(RAISED),
        st.lists(st.integers() | st.text(st.characters(codec="utf-8"), max_size=5) | st.none(), max_size=3),
    )
    def run(kind: str, args: list[Any]) -> None:
        world.check("raises", (kind, args), {}, "await")

    run()
