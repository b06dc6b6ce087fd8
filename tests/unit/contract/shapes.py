# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Classes that the tests' values have: what a user may write, in a module that servers import too."""

from __future__ import annotations

import dataclasses
import enum
from typing import Generic, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

T = TypeVar("T")
B = TypeVar("B", bound=int)


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"
    MIXED = (1, "x")
    CRIMSON = 1


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 10**30


class Word(enum.StrEnum):
    YES = "yes"
    NO = "no"


class Mode(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Bits(enum.IntFlag):
    A = 1
    B = 8


@dataclasses.dataclass
class Leaf:
    number: int
    text: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float


@dataclasses.dataclass(kw_only=True)
class Special(Leaf):
    tags: list[str] = dataclasses.field(default_factory=list)
    derived: int = dataclasses.field(init=False, default=0)
    doubled: int = 0

    def __post_init__(self) -> None:
        self.derived = self.number * 2
        self.doubled *= 2  # not idempotent: what arrives must be what was sent, not doubled again


@dataclasses.dataclass
class Tree:
    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)
    parent: Tree | None = None


@dataclasses.dataclass
class Box(Generic[T]):
    item: T
    more: dict[str, T]


class Pair(NamedTuple):
    left: int
    right: str = "right"


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Loose(TypedDict, total=False):
    value: str


UserId = NewType("UserId", int)
