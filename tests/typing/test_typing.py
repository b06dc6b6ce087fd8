# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""mypy --strict and pyright see the original parameters and results of tagged functions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# The sources are read, not imported: the checkers have an environment of their own.
SOURCE = Path("src/python").resolve()

GOOD = """from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from turbolift import Docker, K8s, Local, Platform, on
from turbolift.testing import Distributed, Faults, distribute


class Quote:
    price: float


@on(K8s(max_scale_n=10), cpu="500m", memory="256Mi", timeout=5.0)
def quote(sku: str, quantity: int = 1, *, express: bool = False) -> Quote:
    return Quote()


@on(Local())
async def later(x: int) -> str:
    return str(x)


class Cart:
    @staticmethod
    @on(Docker())
    def total(prices: list[float]) -> float:
        return sum(prices)

    @on(Docker())
    @staticmethod
    async def count(prices: list[float]) -> int:
        return len(prices)


class Edge:
    kind = "edge"

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind}


platform: Platform = Edge()


@on(Edge())
def at_the_edge(*parts: str, **more: int) -> bytes:
    return b""


async def numbers() -> AsyncIterator[int]:
    yield 1


async def main() -> None:
    reveal_type(quote)
    reveal_type(later)
    reveal_type(await quote("A-1", 3, express=True))
    reveal_type(await quote.remote("A-1"))
    reveal_type(quote.local("A-1"))
    reveal_type(quote.call("A-1", quantity=2))
    reveal_type(await later(1))
    reveal_type(await later.local(1))
    reveal_type(later.call(1))
    reveal_type(await Cart.total([1.0]))
    reveal_type(await Cart.count([1.0]))
    reveal_type(await Cart().total([1.0]))
    reveal_type(await at_the_edge("a", b=1))
    reveal_type(await quote.map(["A-1"], [3]))
    reveal_type(await quote.with_options(timeout=None)("A-1"))
    reveal_type(quote.with_options(timeout=1).local("A-1"))
    async for result in later.map(numbers(), concurrency=4, ordered=False):
        reveal_type(result)
    reveal_type(await later.starmap([(1,)], return_exceptions=True))
    reveal_type(later.map([1]).call())


def test_calls(distributed: Distributed, faults: Faults) -> None:
    faults.lose_answer(quote, times=None, when=lambda call: call.attempts == [])
    reveal_type(distributed.calls_of(later))
    reveal_type(distributed.calls[0].attempts[0].outcome)
    reveal_type(faults.delay(later, seconds=1.5))
    with distribute(quote, later, Cart.total) as run:
        reveal_type(run)
"""

# What the two reveal, in the order of the sample.
EXPECTED = [
    "SyncDistributedFunction[(sku: str, quantity: int, *, express: bool), Quote]",
    "AsyncDistributedFunction[(x: int), str]",
    *["Quote"] * 4,
    *["str"] * 3,
    "float",
    "int",
    "float",
    "bytes",
    "list[Quote]",
    "Quote",
    "Quote",
    "str",
    "list[str | Exception]",
    "list[str]",
    "list[Call]",
    "str",
    "Fault",
    "Distributed",
]

# Each line that ends in "# error" is an error, and there are no others.
BAD = """from __future__ import annotations

from turbolift import K8s, Local, on
from turbolift.testing import Faults


@on(Local())
def quote(sku: str, quantity: int = 1) -> float:
    return 1.0


@on(Local())
async def later(x: int) -> str:
    return str(x)


async def main() -> None:
    await quote(1)  # error
    await quote("A-1", quantity="3")  # error
    await quote("A-1", nope=3)  # error
    await quote()  # error
    quote.call(2)  # error
    quote.local(sku=None)  # error
    await quote.remote("A-1", 2, 3)  # error
    await later("x")  # error
    wrong: int = await later(1)  # error
    text: str = quote("A-1")  # error
    number: str = await quote("A-1")  # error
    results: list[int] = await later.map([1])  # error
    later.map([1], concurrency="many")  # error
    later.with_options(timeout="1")  # error
    print(wrong, text, number, results)


def test_faults(faults: Faults) -> None:
    faults.refuse(len)  # error
    faults.delay(quote)  # error
    faults.busy(quote, when=lambda: True)  # error


@on(Local(), cpus=2)  # error
def more() -> None: ...


@on(Local(), workers="fibres")  # error
def fibres() -> None: ...


@on(K8s)  # error
def unfinished() -> None: ...


@on("k8s")  # error
def named() -> None: ...
"""

Found = tuple[list[str], set[int]]


def normal(revealed: str) -> str:
    """Bring the ways in which the two write a type to one: no modules, no defaults."""
    text = re.sub(r"\b(?:\w+\.)+(?=\w)", "", revealed)
    text = re.sub(r" ?= ?(?:\.\.\.|\w+)?", "", text)
    return (
        re.sub(r"\[(?:def )?\[?\(?(.*?)[\])]+, (\w+)\]$", r"[(\1), \2]", text) if "Function" in text else text
    )


def mypy(sample: Path) -> Found:
    """Return what mypy reveals, and the lines with errors."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty", "--config-file", "",
         "--cache-dir", "/dev/null", "--follow-imports", "silent", "--ignore-missing-imports", sample.name],
        capture_output=True,
        text=True,
        cwd=sample.parent,
        env={**os.environ, "MYPYPATH": str(SOURCE)},
        check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    revealed = [found[1] for line in lines if (found := re.search(r'Revealed type is "(.*)"', line))]
    assert all(line.startswith(sample.name) for line in lines), done.stdout + done.stderr
    return revealed, {int(line.split(":")[1]) for line in lines if ": error:" in line}


def pyright(sample: Path) -> Found:
    """Return what pyright reveals, and the lines with errors."""
    settings = {"include": [sample.name], "extraPaths": [str(SOURCE)], "typeCheckingMode": "standard"}
    (sample.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        capture_output=True,
        text=True,
        cwd=sample.parent,
        check=False,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    revealed = [
        text[1] for entry in found if (text := re.search(r'Type of ".*" is "(.*)"$', entry["message"], re.S))
    ]
    errors = {entry["range"]["start"]["line"] + 1 for entry in found if entry["severity"] == "error"}
    return revealed, errors


def check(checker: str, tmp_path: Path, text: str) -> Found:
    pytest.importorskip(checker)
    sample = tmp_path / "sample.py"
    sample.write_text(text)
    checkers: dict[str, Callable[[Path], Found]] = {"mypy": mypy, "pyright": pyright}
    return checkers[checker](sample)


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_parameters_and_results_are_seen(checker: str, tmp_path: Path) -> None:
    revealed, errors = check(checker, tmp_path, GOOD)
    assert errors == set()
    assert [normal(text) for text in revealed] == EXPECTED


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_wrong_calls_are_errors(checker: str, tmp_path: Path) -> None:
    _, errors = check(checker, tmp_path, BAD)
    assert errors == {number for number, line in enumerate(BAD.splitlines(), 1) if line.endswith("# error")}
