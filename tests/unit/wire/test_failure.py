# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Exceptions as JSON, and back: the same type and facts, or a RemoteError; nothing is imported or unpickled."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import urllib.error
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.contract import dumps, loads
from turbolift.errors import DeadlineExceeded, NotRoutedError, RemoteError, RemoteExit, RemoteTraceback
from turbolift.wire import encode_exception, rebuild_exception
from turbolift.wire.plain import identical

plain_keys = st.none() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text().filter(lambda key: not key.startswith("$")), inner, max_size=3)
    ),
    max_leaves=10,
)


odd = st.recursive(
    plain
    | st.floats()
    | st.complex_numbers()
    | st.integers(-(10**3000), 10**3000)
    | st.text(st.characters(codec=None))
    | st.builds(pathlib.PurePosixPath, st.text("ab/", max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_keys, inner, max_size=3),
    max_leaves=10,
) | st.sets(plain_keys)


def travel(error: BaseException) -> Exception:
    return rebuild_exception(loads(dumps(encode_exception(error))), function="m:f", endpoint="unix:///s")


class Plain(Exception):
    pass


class Picky(Exception):
    def __init__(self, code: int, *, hint: str = "") -> None:
        super().__init__(f"code {code}")
        self.code = code


class Meddling(Exception):
    """Changes its arguments: a rebuilt one would not be what was raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text + "!")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Interrupt(BaseException):
    pass


@given(
    st.sampled_from([ValueError, KeyError, LookupError, Plain, ArithmeticError]), st.lists(plain, max_size=3)
)
def test_the_law_of_exceptions(kind: type[Exception], args: list[Any]) -> None:
    back = travel(kind(*args))
    assert type(back) is kind
    assert back.args == tuple(args)
    assert repr(back.args) == repr(tuple(args))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file", "/x"),
        OSError(28, "No space"),
        ConnectionResetError("plain text"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        ImportError("no", name="n", path="/p"),
        ModuleNotFoundError("no", name="n"),
        NameError("no", name="n"),
        AttributeError("no", name="n"),
        StopIteration(3),
        SyntaxError("bad", ("f.py", 1, 2, "text", 1, 3)),
        subprocess.CalledProcessError(3, ["a", "b"]),
        NotRoutedError("no route", function="m:f"),
        DeadlineExceeded("late", function="m:g", endpoint="unix:///t", timeout=1.5),
    ],
)
def test_facts_survive(error: Exception) -> None:
    back = travel(error)
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    for name in (
        "errno",
        "strerror",
        "filename",
        "name",
        "path",
        "function",
        "endpoint",
        "timeout",
        "cmd",
        "lineno",
    ):
        assert getattr(back, name, None) == getattr(error, name, None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Interrupt("a"), f"{__name__}:Interrupt"),
        (SystemExit(2), "builtins:SystemExit"),
        (KeyboardInterrupt(), "builtins:KeyboardInterrupt"),
        (GeneratorExit(), "builtins:GeneratorExit"),
    ],
)
def test_what_becomes_a_remote_error(error: BaseException, kind: str) -> None:
    back = travel(error)
    assert isinstance(back, RemoteError)
    assert back.type == kind
    assert back.function == "m:f"
    assert back.endpoint == "unix:///s"
    assert kind in str(back)


def test_constructors_of_the_users_classes_are_not_run() -> None:
    picky: Any = travel(Picky(3, hint="h"))
    assert type(picky) is Picky
    assert (picky.args, picky.code) == (("code 3",), 3)
    meddling = travel(Meddling("a"))
    assert type(meddling) is Meddling
    assert meddling.args == ("a!",)


@given(st.lists(odd, max_size=3))
def test_the_law_of_odd_arguments(args: list[Any]) -> None:
    back = travel(Plain(*args))
    assert type(back) is Plain
    assert identical(back.args, tuple(args))
    assert not hasattr(back, "__notes__")


@pytest.mark.parametrize("value", [object, Picky(1), bytearray(b"x"), range(3), [lambda: 1], {1: object}])
def test_what_cannot_travel_is_shown(value: Any) -> None:
    back = travel(KeyError("a", value))
    assert type(back) is KeyError
    assert back.args == ("a", repr(value))
    assert back.__notes__ == ["turbolift: arguments that did not travel, here as text: args[1]"]


@pytest.mark.parametrize(
    "tree",
    [
        {"$float": "x"},
        {"$int": 3},
        {"$set": [[1]]},
        {"$dict": [[1]]},
        {"$path": ["os", "x"]},
        {"$path": "x"},
        {"$text": "é"},
        {"$complex": []},
        {"$new": 1},
    ],
)
def test_what_is_written_as_nothing_known(tree: Any) -> None:
    for node in ({"args": [tree]}, {"args": [], "state": {"a": tree}}):
        back = rebuild_exception({"type": "builtins:ValueError", "message": "m", **node})
        assert isinstance(back, RemoteError)
        assert back.remote_args == ()


def test_a_class_with_a_broken_str() -> None:
    back = travel(Mute(1))
    assert type(back) is Mute
    assert back.args == (1,)


def test_lost_attributes_are_told() -> None:
    error = Plain("x")
    error.kept = [1, (2,)]  # type: ignore[attr-defined]
    error.handle = object()  # type: ignore[attr-defined]
    back: Any = travel(error)
    assert back.kept == [1, (2,)]
    assert back.__notes__ == ["turbolift: attributes that did not travel: handle"]


def test_notes_traceback_and_cause() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as error:
        error.add_note("a note")
        back = travel(error)
    assert back.__notes__ == ["a note"]
    assert isinstance(back.__cause__, RemoteTraceback)
    text = back.__cause__.text
    assert "KeyError: 'inner'" in text
    assert f'File "{__file__}", line' in text
    assert "direct cause" in text


def test_a_huge_traceback_is_cut() -> None:
    back = travel(ValueError("x" * 1_000_000))
    assert isinstance(back.__cause__, RemoteTraceback)
    assert len(back.__cause__.text) < 70_000
    assert back.args == ("x" * 1_000_000,)


def test_groups() -> None:
    group = BaseExceptionGroup("all", [ValueError(1), SystemExit(2), ExceptionGroup("deep", [Plain("p")])])
    back = travel(group)
    assert type(back) is ExceptionGroup
    assert [type(e) for e in back.exceptions] == [ValueError, RemoteExit, ExceptionGroup]
    deep = back.exceptions[2]
    assert isinstance(deep, ExceptionGroup)
    assert type(deep.exceptions[0]) is Plain
    error: Exception = ValueError("bottom")
    for _ in range(60):
        error = ExceptionGroup("level", [error])
    assert isinstance(travel(error), ExceptionGroup)


@pytest.mark.parametrize(
    "identity",
    [
        "wave:Error",
        "os:system",
        "builtins:eval",
        "builtins:SystemExit",
        "builtins:int",
        "nowhere:Nothing",
        "turbolift.errors:RemoteTraceback",
        "builtins",
        "",
        ":",
        "builtins:ValueError.args",
    ],
)
def test_nothing_is_imported_or_run(identity: str) -> None:
    before = set(sys.modules)
    back = rebuild_exception({"type": identity, "message": "m", "args": ["true"]})
    assert isinstance(back, RemoteError)
    assert set(sys.modules) == before


def test_a_modules_getattr_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    lazy = types.ModuleType("lazy_module")
    lazy.__getattr__ = lambda name: pytest.fail("was run")  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    assert isinstance(rebuild_exception({"type": "lazy_module:Error", "args": []}), RemoteError)


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["builtins:OSError"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "type": json_trees
            | st.sampled_from(["builtins:ValueError", "builtins:ExceptionGroup", "builtins:OSError"]),
            "message": json_trees,
            "args": json_trees,
            "call": json_trees,
            "state": json_trees,
            "lost": json_trees,
            "notes": json_trees,
            "traceback": json_trees,
            "exceptions": json_trees,
            "partial": json_trees,
        },
    )
    | json_trees
)
def test_a_hostile_description_gives_an_exception(node: Any) -> None:
    assert isinstance(rebuild_exception(node), Exception)


def test_an_exception_with_a_body_of_its_own() -> None:
    back = travel(urllib.error.URLError("refused"))
    assert type(back) is urllib.error.URLError
    assert back.reason == "refused"
