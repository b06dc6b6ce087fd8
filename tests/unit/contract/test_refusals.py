# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What cannot travel is refused with file, line, parameter and advice: hints when they are compiled, values
when sent.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import functools
import io
import pathlib
import re
import threading
import types
import typing
from collections import OrderedDict, defaultdict, deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import InitVar, dataclass
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, Self, TypedDict, TypeVar

import pytest

from turbolift.contract import MAX_DEPTH, Payload, contract_of
from turbolift.errors import DecodeError, EncodeError, UnsupportedTypeError

if TYPE_CHECKING:
    from shop import Ghost  # type: ignore[import-not-found]

T = TypeVar("T")


class Color(enum.IntEnum):
    RED = 1


class Plain: ...


class Quacks(Protocol): ...


@dataclass
class HasLock:
    name: str
    lock: threading.Lock


@dataclass
class Deep:
    inner: list[HasLock]


@dataclass
class HasInitVar:
    seed: InitVar[int]


@dataclass
class HasGhost:
    ghost: Ghost


@dataclass
class AlsoList(list):  # type: ignore[type-arg]
    name: str


@dataclass
class Grows(Generic[T]):
    item: T
    more: Grows[list[T]] | None = None


class Untyped(typing.NamedTuple("Untyped", [("a", int)])):
    """A class of its own over a NamedTuple: still a tuple with fields."""


@dataclass
class Base:
    a: int


@dataclass
class Derived(Base):
    b: int = 0


@dataclass
class Loose:
    a: int


class Movie(TypedDict):
    title: str


class Pair(NamedTuple):
    left: int


# One refused function per line: the line is part of what is asserted.
def no_hint(a, b: int) -> None: ...  # type: ignore[no-untyped-def]
def no_result(a: int): ...  # type: ignore[no-untyped-def]
def ghost(a: Ghost) -> None: ...
def ghosts(a: dict[str, list[Ghost]]) -> None: ...
def ghost_field(a: HasGhost) -> None: ...
def typo(a: "in t") -> None: ...  # type: ignore[valid-type] # noqa: F722
def called(a: Callable[[int], str]) -> None: ...
def generator() -> Generator[int, None, None]: ...  # type: ignore[empty-body]
def iterator(a: Iterator[int]) -> None: ...
def stream() -> AsyncIterator[int]: ...  # type: ignore[empty-body]
def awaited() -> Awaitable[int]: ...  # type: ignore[empty-body]
def future(a: asyncio.Future[int]) -> None: ...
def io_hint(a: IO[bytes]) -> None: ...
def file_hint(a: io.BytesIO) -> None: ...
def event(a: threading.Event) -> None: ...
def module(a: types.ModuleType) -> None: ...
def a_class(a: type[int]) -> None: ...
def pattern(a: re.Pattern[str]) -> None: ...
def dots(a: types.EllipsisType) -> None: ...
def view(a: memoryview) -> None: ...
def plain(a: Plain) -> None: ...
def protocol(a: Quacks) -> None: ...
def in_field(a: Deep) -> None: ...
def init_var(a: HasInitVar) -> None: ...
def also_list(a: AlsoList) -> None: ...
def grows(a: Grows[int]) -> None: ...
def no_self(a: Self) -> None: ...  # type: ignore[misc]
def windows(a: pathlib.WindowsPath) -> None: ...
def value_hint(a: 5) -> None: ...  # type: ignore[valid-type]
def error_hint(a: ValueError) -> None: ...


REFUSED: list[tuple[Callable[..., Any], str, str]] = [
    (no_hint, "a", "has no type hint; write what it is, as in `a: int`"),
    (no_result, "return", "has no type hint; write what it is, as in `-> None`"),
    (
        ghost,
        "a",
        "the name 'Ghost' is not defined when the module runs: if it is imported under `if TYPE_CHECKING:`",
    ),
    (
        ghosts,
        "a",
        "the name 'Ghost' of the hint 'dict[str, list[Ghost]]' is not defined when the module runs",
    ),
    (ghost_field, "a", "move it to the module (in HasGhost.ghost)"),
    (typo, "a", "the hint 'in t' is not an expression"),
    (
        called,
        "a",
        "collections.abc.Callable cannot travel: a function cannot travel; pass data that says what to do",
    ),
    (generator, "return", "collections.abc.Generator cannot travel: a stream cannot travel; return a list"),
    (iterator, "a", "a stream cannot travel"),
    (stream, "return", "a stream cannot travel"),
    (awaited, "return", "write the type of the result itself, as for any `async def`"),
    (future, "a", "write the type of the result itself"),
    (io_hint, "a", "typing.IO cannot travel: an open file cannot travel; pass bytes or a pathlib.Path"),
    (file_hint, "a", "an open file cannot travel"),
    (event, "a", "threading.Event cannot travel: it belongs to one process; pass plain data"),
    (module, "a", "a module cannot travel; pass its name"),
    (a_class, "a", "type cannot travel: a class cannot travel; pass its name, or an Enum that stands for it"),
    (pattern, "a", "re.Pattern cannot travel: pass the pattern as str"),
    (dots, "a", "`...` is no value; use None"),
    (view, "a", "memoryview cannot travel: pass bytes"),
    (plain, "a", f"{__name__}.Plain cannot travel: make it a dataclass, NamedTuple, TypedDict or Enum"),
    (protocol, "a", "a Protocol says what a value can do, not what it is; name the types that it may be"),
    (
        in_field,
        "a",
        "cannot travel: it belongs to one process; pass plain data (in Deep.inner -> HasLock.lock)",
    ),
    (init_var, "a", "the InitVar HasInitVar.seed cannot travel: a value does not keep it; make it a field"),
    (also_list, "a", "AlsoList cannot travel: what it holds as a list is in none of its fields"),
    (grows, "a", "the hint is nested more than 100 levels deep (or a generic class grows)"),
    (no_self, "a", "Self has no meaning here: there is no class around it"),
    (windows, "a", "pathlib.WindowsPath cannot travel"),
    (value_hint, "a", "5 cannot travel"),
    (error_hint, "a", "ValueError cannot travel: pass its message, or raise it"),
]


@pytest.mark.parametrize(("fn", "parameter", "message"), REFUSED, ids=[fn.__name__ for fn, _, _ in REFUSED])
def test_a_hint_that_cannot_travel_is_refused(fn: Callable[..., Any], parameter: str, message: str) -> None:
    with pytest.raises(UnsupportedTypeError) as raised:
        contract_of(fn)
    error = raised.value
    lines = pathlib.Path(__file__).read_text("utf-8").splitlines()
    line = next(i for i, text in enumerate(lines, 1) if text.startswith(f"def {fn.__name__}("))
    assert (error.file, error.line, error.parameter) == (__file__, line, parameter)
    what = "the result" if parameter == "return" else f"parameter {parameter!r}"
    assert str(error).startswith(f"{__file__}:{line}: {what} of {__name__}:{fn.__name__}: ")
    assert message in str(error)


@pytest.mark.parametrize("thing", [len, functools.partial(int), Plain, 5], ids=repr)
def test_what_is_no_function_is_refused(thing: Any) -> None:
    with pytest.raises(UnsupportedTypeError, match="not a function: it has no type hints to read"):
        contract_of(thing)


def test_the_line_of_a_decorated_function_is_its_def() -> None:
    def keep(fn: Any) -> Any:
        return fn

    @keep
    @keep
    def function(a: Plain) -> None: ...

    with pytest.raises(UnsupportedTypeError) as raised:
        contract_of(function)
    assert raised.value.line == function.__code__.co_firstlineno + 2


def test_a_local_class_in_a_string_hint_is_refused() -> None:
    @dataclass
    class Local:
        a: int

    def function(a: Local) -> None: ...

    with pytest.raises(
        UnsupportedTypeError, match="if it is a class inside a function, move it to the module"
    ):
        contract_of(function)


class MyInt(int): ...


class MyFloat(float): ...


class MyStr(str): ...


class MyList(list): ...  # type: ignore[type-arg]


class MyDict(dict): ...  # type: ignore[type-arg]


class MyDatetime(datetime.datetime): ...


class Odd(datetime.tzinfo):
    def utcoffset(self, when: Any) -> datetime.timedelta:
        return datetime.timedelta(0)

    dst = utcoffset

    def tzname(self, when: Any) -> str:
        return "odd"


def _holds_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _with(value: Any, **attributes: Any) -> Any:
    vars(value).update(attributes)
    return value


def _without(value: Any, name: str) -> Any:
    delattr(value, name)
    return value


REFUSED_VALUES: list[tuple[Any, Any, str]] = [
    (int, "1", "value: expected int, got str"),
    (int, 1.0, "value: expected int, got float"),
    (int, None, "value: expected int, got None"),
    (int, Color.RED, "value: expected int, got IntEnum Color (it would arrive as a plain int)"),
    (int, MyInt(1), f"value: expected int, got {__name__}.MyInt (it would arrive as a plain int)"),
    (float, MyFloat(1), f"value: expected float, got {__name__}.MyFloat (it would arrive as a plain float)"),
    (str, MyStr(), f"value: expected str, got {__name__}.MyStr (it would arrive as a plain str)"),
    (
        str,
        "\ud83d\ude00",
        "value: holds a high and a low surrogate side by side, which JSON joins into one character",
    ),
    (
        list[int],
        MyList(),
        f"value: expected list[int], got {__name__}.MyList (it would arrive as a plain list)",
    ),
    (dict[str, int], MyDict(), "(it would arrive as a plain dict)"),
    (dict[str, int], OrderedDict(), "got collections.OrderedDict (it would arrive as a plain dict)"),
    (list[int], (1,), "value: expected list[int], got tuple"),
    (list[list[int]], [[1], [2, "x"]], "value[1][1]: expected int, got str"),
    (dict[str, list[int]], {"a": [1, None]}, "value['a'][1]: expected int, got None"),
    (dict[str, int], {1: 1}, "value[1]: as a key: expected str, got int"),
    (dict[int, int], {"1": 1}, "value['1']: as a key: expected int, got str"),
    (tuple[int, str], (1, 2), "value[1]: expected str, got int"),
    (tuple[int, str], (1,), "value: expected tuple[int, str], got a tuple of 1"),
    (set[int], {"a"}, "value[0]: expected int, got str"),
    (
        Any,
        (1,),
        "value: expected a value that is JSON already (under Any), got tuple; give it a type hint of its own",
    ),
    (Any, {"a": {1}}, "value['a']: expected a value that is JSON already (under Any), got set"),
    (Any, {1: 1}, "value: a dict under Any must have str keys, got int; give it a type hint"),
    (dict, {"a": b""}, "value['a']: expected a value that is JSON already (under Any), got bytes"),
    (int | str, 1.5, "value: expected int | str, got float"),
    (int | None, "x", "value: expected int | None, got str"),
    (list[int] | None, ["x"], "value[0]: expected int, got str"),
    (Literal[1, "a"], True, "value: expected Literal[1, 'a'], got bool"),
    (Literal[1, "a"], 2, "value: expected Literal[1, 'a'], got 2"),
    (Literal["a"], [], "value: expected Literal['a'], got list"),
    (Base, Derived(1), f"value: expected Base, got {__name__}.Derived (it would arrive as a plain Base)"),
    (Base, {"a": 1}, "value: expected Base, got dict"),
    (Base, Base("x"), "value.a: expected int, got str"),  # type: ignore[arg-type]
    (
        Loose,
        _with(Loose(1), cache=2),
        "Loose has an attribute 'cache' that is not one of its fields and would be lost",
    ),
    (Loose, _without(Loose(1), "a"), "value.a: has no value"),
    (Movie, {"title": 1}, "value['title']: expected str, got int"),
    (Movie, {}, "value: Movie lacks title"),
    (Movie, {"title": "", "x": 1}, "value: Movie has no key 'x' (its keys: title)"),
    (Pair, (1,), "value: expected Pair, got tuple"),
    (
        Untyped,
        _with(Untyped(1), x=1),
        "value: Untyped has attributes that are not its fields and would be lost",
    ),
    (datetime.datetime, MyDatetime(2026, 1, 1), "(it would arrive as a plain datetime)"),
    (datetime.date, datetime.datetime(2026, 1, 1), "expected date, got datetime.datetime"),
    (
        datetime.datetime,
        datetime.datetime(2026, 1, 1, tzinfo=Odd()),
        f"the time zone is a {__name__}.Odd, which cannot",
    ),
    (
        datetime.datetime,
        datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(0), "[x]")),
        "the time zone's name '[x]' cannot travel",
    ),
    (defaultdict[str, int], defaultdict(lambda: 1), "value: the default_factory <lambda> cannot travel"),
    (Iterable[int], (i for i in [1]), "value: expected Iterable[int], got generator"),
    (Sequence[int], range(3), "value: expected Sequence[int], got range"),
    (Sequence[str], "abc", "value: expected Sequence[str], got str"),
    (Mapping[str, int], types.MappingProxyType({}), "value: expected Mapping[str, int], got mappingproxy"),
    (list[Any], _holds_itself(), f"nested more than {MAX_DEPTH} levels deep, or holds itself"),
    (range, deque(), "value: expected range, got collections.deque"),
    (typing.NoReturn, 1, "value: expected no value at all (NoReturn), got int"),
    (decimal.Decimal, 1, "value: expected Decimal, got int"),
    (bytes, bytearray(b"x"), "value: expected bytes, got bytearray"),
]


@pytest.mark.parametrize(("hint", "value", "message"), REFUSED_VALUES)
def test_a_value_that_would_not_arrive_is_refused(
    hint: Any, value: Any, message: str, contract_for: Any
) -> None:
    with pytest.raises(EncodeError) as raised:
        contract_for(hint).encode_args({"value": value})
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"{raised.value.path}: ")
    with pytest.raises(EncodeError) as raised:
        contract_for(hint).encode_result(value)
    assert raised.value.path.startswith("result")


REFUSED_TREES: list[tuple[Any, Any, str]] = [
    (float, "nan", 'result: expected float, got a JSON string that is not "NaN", "Infinity" or "-Infinity"'),
    (float, float("inf"), "result: expected float, got a JSON number that is too large for one"),
    (Any, [float("inf")], "result[0]: a JSON number that is too large for a float"),
    (
        Any,
        {"$type": "Quote", "value": 1},
        'under Any, {"$type": ..., "value": ...} is for int, float and dict',
    ),
    (str, 1, "result: expected str, got a JSON integer"),
    (set[int], [1, 1], "result: expected set[int], got equal items"),
    (dict[int, int], [[1, 1], [1, 2]], "result[1]: expected dict[int, int], got the same key twice"),
    (dict[int, int], [[1]], "result: expected dict[int, int], as an array of [key, value]"),
    (dict[decimal.Decimal, int], {"1": 1, "1.0": 2}, "got the same key twice"),
    (Base, {"a": 1, "z": 1}, "result: Base has no field 'z' (its fields: a)"),
    (Base, {}, "result: Base lacks a"),
    (Base, [1], "result: expected Base, got a JSON array"),
    (Base | Loose, {"a": 1}, 'result: expected Base | Loose, as {"$type": one of Base, Loose, "value": ...}'),
    (
        Base | Loose,
        {"$type": "X", "value": 1},
        "result: expected Base | Loose, got $type 'X'; known are Base, Loose",
    ),
    (Base | Loose, {"$type": "Base", "value": {"a": None}}, "result.a: expected int, got null"),
    (int | None, "x", "result: expected int, got a JSON string that is not of the form"),
    (Literal["a"], "b", "result: expected Literal['a'], got a JSON string"),
    (Literal[1], True, "result: expected Literal[1], got a JSON boolean"),
    (Color, "BLUE", "result: expected Color (one of RED), got 'BLUE'"),
    (datetime.datetime, "yesterday", "result: expected datetime as ISO 8601 text, got 'yesterday'"),
    (
        datetime.datetime,
        "2026-13-01T00:00:00",
        "result: expected datetime, got '2026-13-01T00:00:00': month must be in",
    ),
    (
        datetime.datetime,
        "2026-01-01T00:00:00+05:00[Europe/Paris]",
        "the time zone data of caller and server disagree",
    ),
    (datetime.datetime, "2026-01-01T00:00:00[Mars/Base]", "there is no time zone 'Mars/Base' here"),
    (datetime.datetime, "2026-01-01T00:00:00[_odd=1]", "suffix [_odd=1] is not known here"),
    (datetime.timedelta, "P", "result: expected timedelta, got 'P': a duration needs at least one part"),
    (decimal.Decimal, "1,5", "result: expected Decimal, got '1,5'"),
    (deque[int], {"maxlen": 1, "items": [1, 2]}, "got 2 items where maxlen is 1"),
    (range, [0, 1, 0], "result: expected range: range() arg 3 must not be zero"),
    (tuple[int, str], [1], "result: expected tuple[int, str], got a JSON array of 1"),
    (bytes, "é", "result: expected bytes, got a JSON string that is not base64"),
]


@pytest.mark.parametrize(("hint", "tree", "message"), REFUSED_TREES)
def test_what_does_not_fit_the_hint_is_refused(hint: Any, tree: Any, message: str, contract_for: Any) -> None:
    with pytest.raises(DecodeError) as raised:
        contract_for(hint).decode_result(Payload(tree, []))
    assert message in str(raised.value)
    assert raised.value.path.startswith("result")


@dataclass
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError(f"{self.number} is odd")


def test_a_class_that_refuses_its_fields_is_a_decode_error_with_its_cause(contract_for: Any) -> None:
    with pytest.raises(
        DecodeError, match=re.escape("result[1]: Even refuses its fields: ValueError: 3 is odd")
    ) as raised:
        contract_for(list[Even]).decode_result(Payload([{"number": 2}, {"number": 3}], []))
    assert isinstance(raised.value.__cause__, ValueError)


@dataclass
class Link:
    next: Link | None = None


def test_depth_is_bounded_on_both_sides(contract_for: Any, travel: Any) -> None:
    def chain(length: int) -> Link:
        link = Link()
        for _ in range(length - 1):
            link = Link(link)
        return link

    contract = contract_for(Link)
    assert travel(contract, chain(MAX_DEPTH)) == chain(MAX_DEPTH)
    with pytest.raises(EncodeError, match=f"nested more than {MAX_DEPTH} levels deep"):
        contract.encode_result(chain(MAX_DEPTH + 1))
    loop = Link()
    loop.next = loop
    with pytest.raises(EncodeError, match="or holds itself"):
        contract.encode_result(loop)
    tree: Any = {"next": None}
    for _ in range(5000):
        tree = {"next": tree}
    with pytest.raises(DecodeError, match=f"nested more than {MAX_DEPTH} levels deep"):
        contract.decode_result(Payload(tree, []))


def test_ints_of_any_size_travel_under_the_lowest_limit_of_digits(contract_for: Any, travel: Any) -> None:
    import sys

    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        for hint in (int, Any, float, int | str, dict[int, int], Literal[10**5000]):
            value: Any = {10**5000: -(10**700)} if hint == dict[int, int] else 10**5000
            assert travel(contract_for(hint), value) == value
    finally:
        sys.set_int_max_str_digits(limit)


def test_little_stack_is_a_clear_error(contract_for: Any) -> None:
    contract = contract_for(Link)
    link = Link()
    for _ in range(MAX_DEPTH - 1):
        link = Link(link)

    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
        else:
            contract.encode_result(link)

    import sys

    with pytest.raises(EncodeError, match="nested too deeply for the stack that is left"):
        deeper(sys.getrecursionlimit() - 400)
