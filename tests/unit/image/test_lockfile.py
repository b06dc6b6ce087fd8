# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading locks and requirements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from turbolift.errors import PackagingError
from turbolift.image.lockfile import Lock, read_lock, read_roots

A, B = "a" * 64, "b" * 64


def lock(tmp_path: Path, text: str) -> Lock:
    path = tmp_path / "lock.txt"
    path.write_text(text)
    return read_lock(path)


def test_a_list_with_hashes(tmp_path: Path) -> None:
    read = lock(
        tmp_path,
        "# made by a tool\n--index-url x\nSome_Thing[extra]==1.0 ; python_version < '3.13' \\\n    "
        f"--hash=sha256:{A} \\\n    --hash=sha256:{B}\nother===2.0.post1 --hash sha256:{A}  # why\n\n",
    )
    assert [(one.name, one.version, one.marker, len(one.sha256)) for one in read.pins] == [
        ("some-thing", "1.0", "python_version < '3.13'", 2),
        ("other", "2.0.post1", "", 1),
    ]
    assert read.pins[1].where.endswith("lock.txt:6")
    assert read.pin("SOME.thing", "1.0.0") is read.pins[0]
    assert read.pin("some-thing", "1.1") is None


def test_a_lock_that_forks_by_marker(tmp_path: Path) -> None:
    read = lock(
        tmp_path,
        f"n==1.0 ; python_version < '3.12' --hash=sha256:{A}\nn==2.0 ; python_version >= '3.12' "
        f"--hash=sha256:{B}\n",
    )
    pin = read.pin("n", "2.0")
    assert pin is not None
    assert pin.sha256 == {B}
    assert len(read.get("N")) == 2


def test_the_format_of_pex(tmp_path: Path) -> None:
    document = {
        "locked_resolves": [
            {
                "locked_requirements": [
                    {
                        "project_name": "some_thing",
                        "version": "1.0",
                        "artifacts": [
                            {"algorithm": "sha256", "hash": A, "url": "x"},
                            {"algorithm": "md5", "hash": "0", "url": "y"},
                        ],
                    }
                ]
            }
        ]
    }
    read = lock(tmp_path, "// a header\n// of comments\n" + json.dumps(document))
    assert read.pex_json == json.dumps(document)
    pin = read.pin("some-thing", "1.0")
    assert pin is not None
    assert pin.sha256 == {A}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name==1.0\n", "lock.txt:1: name has no sha256 hash"),
        ("name==1.0 --hash=md5:0\n", "name has no sha256 hash"),
        (f"\nname>=1.0 --hash=sha256:{A}\n", "lock.txt:2: not a pinned requirement"),
        (f"name @ https://example.org/x.whl --hash=sha256:{A}\n", "not a pinned requirement"),
        ("-e .\n", "lock.txt:1: -e cannot be used in a lock"),
        ("-r other.txt\n", "-r cannot be used in a lock"),
        ('{"locked_resolves": 1}', "JSON, but not a lock of pex"),
        ("{", "this lock is not JSON"),
    ],
)
def test_what_cannot_be_used_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PackagingError, match=message):
        lock(tmp_path, text)


def test_requirements(tmp_path: Path) -> None:
    path = tmp_path / "roots.txt"
    path.write_text("# needs\nSome_Thing[x]>=1,<2 ; os_name == 'nt'\n\nother # why\n")
    assert [(one.name, one.text, one.conditional) for one in read_roots(path)] == [
        ("some-thing", "Some_Thing[x]>=1,<2 ; os_name == 'nt'", True),
        ("other", "other", False),
    ]
    path.write_text("ok\nname @ file:///x.whl\n")
    with pytest.raises(PackagingError, match=r"roots\.txt:2: name is asked for by address"):
        read_roots(path)
    with pytest.raises(PackagingError, match=r"gone\.txt: cannot read this file: No such file"):
        read_roots(tmp_path / "gone.txt")
