# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The describe command: the user sees their own traceback, and the document is the shim's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import turbolift
from turbolift.errors import PackagingError
from turbolift.image.describe import describe, user_part

Command = Callable[..., subprocess.CompletedProcess[str]]

TRACEBACK = """\
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/w/shim/turbolift/shim/__main__.py", line 7, in <module>
    main()
    ^^^^^^
  File "/base/usr/lib/python3.11/importlib/__init__.py", line 126, in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
  File "<frozen importlib._bootstrap>", line 1206, in _gcd_import
  File "/w/src/shop/cart.py", line 3, in <module>
    import nothing
ModuleNotFoundError: No module named 'nothing'
"""


def test_only_the_user_s_frames_are_relayed() -> None:
    assert user_part(TRACEBACK, ["/w/shim", "/w/src"]) == (
        "Traceback (most recent call last):\n"
        '  File "shop/cart.py", line 3, in <module>\n'
        "    import nothing\nModuleNotFoundError: No module named 'nothing'"
    )


def test_a_failure_of_turbolift_itself_is_relayed_whole() -> None:
    text = TRACEBACK.replace("/w/src/shop/cart.py", "/w/shim/turbolift/x.py")
    assert user_part(text, ["/w/shim"]).count("File ") == 5


def test_a_clear_error_stays_as_it_is() -> None:
    assert user_part("error: /w/src/a.py:3: no hint\n", ["/w/src"]) == "a.py:3: no hint"


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """The runtime's own sources, a user's folder, and third-party distributions: none are needed to describe."""
    deps = tmp_path / "deps"
    deps.mkdir()
    src = tmp_path / "src"
    src.mkdir()
    return [Path(turbolift.__path__[0]).parent, src, deps]


@pytest.mark.network
def test_the_document_of_a_real_function(base: Any, folders: list[Path], tmp_path: Path) -> None:
    (folders[1] / "cart.py").write_text(
        "from turbolift import Local, on\n\n@on(Local(), timeout=2.0)\ndef total(n: int) -> int:\n    "
        "return n\n"
    )
    document = describe(base.rootfs, folders, "cart:total", tmp_path / "describe.json")
    assert document["function"] == "cart:total"
    assert document["python"] == base.lock["complete_platform"]["marker_environment"]["python_full_version"]
    assert document["contract"]["parameters"]["required"] == ["n"]


@pytest.mark.network
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nimport nothing_there\n", r'File "cart.py", line 2, in <module>\n.*\nModuleNotFoundError'),
        (
            "from turbolift import Local, on\n@on(Local())\ndef total(n) -> int:\n    return n\n",
            r"cart\.py:[23].*n\b",
        ),
        ("x = 1\n", r"total"),
    ],
)
def test_what_cannot_be_described_says_where(
    base: Any, folders: list[Path], tmp_path: Path, text: str, message: str
) -> None:
    (folders[1] / "cart.py").write_text(text)
    with pytest.raises(PackagingError, match=message) as caught:
        describe(base.rootfs, folders, "cart:total", tmp_path / "describe.json")
    assert str(caught.value).startswith("cart:total cannot be described:\n")
    assert "turbolift/shim" not in str(caught.value)
    assert not (tmp_path / "describe.json").exists()
