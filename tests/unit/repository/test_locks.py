# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A lock that does not fit its requirements any more is found without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lock import LOCKS, Lock

ROOT = Path.cwd()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_the_lock_was_made_from_the_requirements_as_they_are(lock: Lock) -> None:
    assert lock.is_fresh(ROOT), f"{lock.target} is stale: run ./pants run build-support:lock"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_a_hash_and_no_address(lock: Lock) -> None:
    text = (ROOT / lock.target).read_text("utf-8")
    pins = re.split(r"\n(?=\S)", "\n".join(text.splitlines()[1:]))
    assert pins
    assert [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == []
    assert "://" not in text


def test_an_edited_requirement_makes_a_lock_stale(tmp_path: Path) -> None:
    lock = Lock("in.txt", "out.txt", "3.11")
    (tmp_path / "in.txt").write_text("attrs>=1 # why\n")
    (tmp_path / "out.txt").write_text(lock.header(tmp_path) + "attrs==1\n")
    assert lock.is_fresh(tmp_path)
    (tmp_path / "in.txt").write_text("# another comment\nattrs>=1\n")
    assert lock.is_fresh(tmp_path)
    (tmp_path / "in.txt").write_text("attrs>=2\n")
    assert not lock.is_fresh(tmp_path)
