# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Unpacking wheels side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from turbolift.errors import PackagingError
from turbolift.image.wheels import Wheel, open_wheel, unpack

WheelMaker = Callable[..., Path]

PKGUTIL = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'
RESOURCES = '__import__("pkg_resources").declare_namespace(__name__)\n'


def names(tree: Path) -> list[str]:
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())


def test_what_goes_where(tmp_path: Path, wheel: WheelMaker) -> None:
    path = wheel(
        "some",
        "1.0",
        {
            "some/__init__.py": "x = 1",
            "some/stub.pyi": "x: int",
            "some/tests/test_x.py": "",
            "some/old.pyc": b"\0",
            "some-1.0.data/purelib/pure.py": "p = 1",
            "some-1.0.data/platlib/native.so": b"\x7fELF",
            "some-1.0.data/scripts/run": "#!python",
            "some-1.0.data/data/share/x.txt": "x",
            "some-1.0.data/headers/some.h": "",
        },
        requires=("other>=1",),
    )
    one = open_wheel(path)
    assert (one.name, one.version, one.requires) == ("some", "1.0", ("other>=1",))
    assert unpack([one], tmp_path / "tree") == []
    info = "some-1.0.dist-info"
    assert names(tmp_path / "tree") == sorted(
        [
            *(f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL")),
            *("native.so", "pure.py", "some/__init__.py", "some/stub.pyi", "some/tests/test_x.py"),
        ]
    )
    assert one.report()["left_out"] == [
        "some-1.0.data/data/share/x.txt",
        "some-1.0.data/headers/some.h",
        "some-1.0.data/scripts/run",
        "some/old.pyc",
    ]
    assert one.report()["files"] == 8


def open_two(wheel: WheelMaker, path: str, first: str, second: str) -> list[Wheel]:
    return [
        open_wheel(wheel("zeta", "2.0", {path: second})),
        open_wheel(wheel("alpha", "1.0", {path: first})),
    ]


def test_a_collision_names_both(tmp_path: Path, wheel: WheelMaker) -> None:
    with pytest.raises(
        PackagingError, match=r"alpha 1\.0 and zeta 2\.0 both bring common/x\.py, with different content"
    ):
        unpack(open_two(wheel, "common/x.py", "1", "2"), tmp_path / "tree")


@pytest.mark.parametrize(
    ("path", "first", "second", "note"),
    [
        ("common/x.py", "1", "1", None),
        ("ns/__init__.py", PKGUTIL, RESOURCES, "ns/__init__.py: a namespace package of alpha and zeta"),
        ("tests/__init__.py", "1", "2", "tests/__init__.py: in alpha and, with other content, in zeta"),
        ("LICENSE", "1", "2", "LICENSE: in alpha"),
    ],
)
def test_harmless_collisions(
    tmp_path: Path, wheel: WheelMaker, path: str, first: str, second: str, note: str | None
) -> None:
    notes = unpack(open_two(wheel, path, first, second), tmp_path / "tree")
    assert (tmp_path / "tree" / path).read_text() == first
    assert len(notes) == (note is not None)
    assert not note or notes[0].startswith(note)


def test_a_real_package_s_init_is_no_namespace(tmp_path: Path, wheel: WheelMaker) -> None:
    with pytest.raises(PackagingError, match=r"both bring ns/__init__\.py"):
        unpack(open_two(wheel, "ns/__init__.py", PKGUTIL, "real = 1"), tmp_path / "tree")


@pytest.mark.parametrize("path", ["../x.py", "/x.py", "a/../../x.py", "a\\..\\x.py"])
def test_a_name_that_leaves_the_wheel_is_refused(tmp_path: Path, wheel: WheelMaker, path: str) -> None:
    with pytest.raises(PackagingError, match="a name that leaves the wheel"):
        unpack([open_wheel(wheel("evil", "1.0", {path: "x"}))], tmp_path / "tree")
    assert not (tmp_path / "x.py").exists()


def test_a_file_where_another_has_a_folder(tmp_path: Path, wheel: WheelMaker) -> None:
    two = [
        open_wheel(wheel("alpha", "1.0", {"thing": "file"})),
        open_wheel(wheel("beta", "1.0", {"thing/x.py": ""})),
    ]
    with pytest.raises(PackagingError, match=r"beta 1\.0: thing/x\.py is a folder in another distribution"):
        unpack(two, tmp_path / "tree")


def test_what_is_no_wheel_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"no zip")
    with pytest.raises(PackagingError, match=r"x\.whl: not a wheel"):
        open_wheel(tmp_path / "x.whl")
