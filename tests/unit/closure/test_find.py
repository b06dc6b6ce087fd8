# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The static analysis: what is found, what is refused, where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.closure.find import analyse


def _report(source: str) -> tuple[list[str], list[tuple[int, str]]]:
    report = analyse(dedent(source).encode(), "m.py")
    return [f.qualname for f in report.functions], [(f.line, f.rule) for f in report.findings]


@pytest.mark.parametrize(
    "source",
    [
        "from turbolift import on\n@on(P)\ndef f() -> None: ...",
        "from turbolift import on as tag\n@tag(P)\ndef f() -> None: ...",
        "import turbolift\n@turbolift.on(P)\nasync def f() -> None: ...",
        "import turbolift as t\n@t.on(P, cpu='1')\ndef f() -> None: ...",
        "import turbolift.api\n@turbolift.api.on(platform=P)\ndef f() -> None: ...",
        "from turbolift import on\nif True:\n    @on(P)\n    def f() -> None: ...",
        "from turbolift import on\ntry:\n    pass\nexcept E:\n    @on(P)\n    def f() -> None: ...",
        "from turbolift import on\n@other\n@on(P)\n@more()\ndef f() -> None: ...",
    ],
)
def test_every_way_to_write_the_tag_is_seen(source: str) -> None:
    assert _report(source) == (["f"], [])


@pytest.mark.parametrize(
    "source",
    [
        "import turbolift\n@turbolift.off\ndef f(): ...",
        "from elsewhere import on\n@on(P)\ndef f(): ...",
        "def on(x): ...\n@on(1)\ndef f(): ...",
        '"""turbolift @on"""\ndef f(): ...',
    ],
)
def test_what_is_no_tag_is_left_alone(source: str) -> None:
    assert _report(source) == ([], [])


def test_static_methods_are_functions_and_methods_are_not() -> None:
    source = """\
        from turbolift import on
        class A:
            class B:
                @staticmethod
                @on(P)
                def s(x: int) -> int: ...
            @on(P)
            def m(self) -> None: ...
            @classmethod
            @on(P)
            def c(cls) -> None: ...
        @on(P)
        class K: ...
    """
    assert _report(source) == (["A.B.s"], [(8, "method"), (11, "method"), (13, "class")])


@pytest.mark.parametrize(
    ("source", "line", "rule"),
    [
        ("@on(P)\ndef f(a) -> None: ...", 3, "untyped-parameter"),
        ("@on(P)\ndef f(*a) -> None: ...", 3, "untyped-parameter"),
        ("@on(P)\ndef f(a: int): ...", 3, "untyped-result"),
        ("@on(P)\ndef f() -> int:\n    yield 1", 3, "generator"),
        ("@on\ndef f() -> None: ...", 2, "no-platform"),
        ("@on()\ndef f() -> None: ...", 2, "no-platform"),
        ("def outer():\n    @on(P)\n    def f() -> None: ...", 4, "nested-function"),
        ("f = on(P)(g)", 2, "call-form"),
        ("@on(P)\ndef f() -> None: ...\n@on(P)\ndef f() -> None: ...", 5, "duplicate"),
        ("import os\n@on(P, cpu=os.environ['CPU'])\ndef f() -> None: ...", 3, "environment-option"),
        (
            "from os import getenv as g\nX = K8s(g('N'))\n@on(X)\ndef f() -> None: ...",
            4,
            "environment-option",
        ),
    ],
)
def test_what_cannot_be_distributed_is_named_with_its_line(source: str, line: int, rule: str) -> None:
    _, findings = _report("from turbolift import on\n" + source)
    assert findings == [(line, rule)]


def test_names_that_only_type_checkers_see_are_refused() -> None:
    source = """\
        from __future__ import annotations
        from typing import TYPE_CHECKING
        from turbolift import on
        if TYPE_CHECKING:
            from decimal import Decimal
        else:
            Fraction = float
        @on(P)
        def f(a: list[Decimal], b: "Decimal | None", c: Fraction) -> None: ...
    """
    assert _report(source) == (["f"], [(9, "typing-only-name"), (9, "typing-only-name")])


def test_a_name_imported_both_ways_is_fine() -> None:
    source = """\
        from typing import TYPE_CHECKING
        from turbolift import on
        if TYPE_CHECKING:
            from decimal import Decimal
        from decimal import Decimal
        @on(P)
        def f(a: Decimal) -> None: ...
    """
    assert _report(source) == (["f"], [])


def test_a_file_that_cannot_be_parsed_is_a_finding_with_its_line() -> None:
    report = analyse(b"from turbolift import on\n\ndef f(:\n", "src/m.py")
    assert not report.parsed
    assert [(f.path, f.line, f.rule) for f in report.findings] == [("src/m.py", 3, "syntax-error")]


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: ("import turbolift\n" + text).encode("utf-8", "ignore"))
)
def test_no_content_breaks_the_analysis(source: bytes) -> None:
    report = analyse(source, "m.py")
    assert report.parsed or report.findings


def test_the_program_reports_as_lines_and_as_json(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text("from turbolift import on\n@on(P)\ndef f(a) -> None: ...\n")
    command = [sys.executable, "-m", "turbolift.closure", "find", str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=False)
    assert lines.returncode == 1
    assert f"{file}:3:7: parameter 'a' of f has no type hint" in lines.stderr
    out = tmp_path / "report.json"
    subprocess.run([*command, "--out", str(out)], check=True)
    report = json.loads(out.read_text())
    assert report["files"][0]["functions"][0]["qualname"] == "f"


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "turbolift.closure", "find", str(tmp_path / "none.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert f"cannot read {tmp_path / 'none.py'}" in result.stderr
