# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Documents: schemas, canonical bytes, and errors that say where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.errors import DocumentError
from turbolift.spec import canonical, digest, load, schema, state, validate
from turbolift.spec.document import Kind

ROUTES: dict[str, Any] = {
    "version": 1,
    "deployment": "deploy",
    "platform": "local",
    "generation": 1,
    "routes": {
        "m:f": {"version": "0" * 64, "endpoint": "unix:///run/x.sock", "contract": "sha256:" + "0" * 64}
    },
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_schemas_are_schemas(kind: Kind) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    assert schema(kind)["title"].startswith("turbolift ")


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_canonical_bytes_do_not_depend_on_order(document: dict[str, Any]) -> None:
    reordered = dict(reversed(list(document.items())))
    assert canonical(document) == canonical(reordered)
    assert json.loads(canonical(document)) == document
    assert digest(document) == digest(reordered)


def test_a_valid_document_is_returned_as_it_is() -> None:
    assert validate("route-table", ROUTES, source="here") == ROUTES


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"version": 2}, "$.version"),
        ({"generation": -1}, "$.generation"),
        ({"routes": {"m:f": {**ROUTES["routes"]["m:f"], "endpoint": "ftp://x"}}}, "$.routes['m:f'].endpoint"),
        ({"extra": 1}, "$"),
    ],
)
def test_a_broken_document_is_refused_with_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(DocumentError) as caught:
        validate("route-table", {**ROUTES, **change}, source="routes.json")
    assert caught.value.path == path
    assert str(caught.value).startswith(f"routes.json: not a valid route table: at {path}: ")


def test_files_that_are_missing_or_no_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no such route table"):
        load("route-table", tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    broken.write_text('{\n "version": 1,,\n}')
    with pytest.raises(DocumentError, match=r"broken.json:2:15: this route table is not JSON"):
        load("route-table", broken)


def test_clones_have_state_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    clones = [tmp_path / side / "repo" for side in ("a", "b")]
    for clone in clones:
        (clone / "deep" / "down").mkdir(parents=True)
        (clone / "pants.toml").touch()
    found = [state.workspace_root(clone / "deep" / "down") for clone in clones]
    assert found == [clone.resolve() for clone in clones]
    folders = {state.deployment_dir(clone, "deploy") for clone in clones}
    assert len(folders) == 2
    assert all(folder.is_relative_to(tmp_path / "state" / "turbolift") for folder in folders)


def test_no_workspace_above_the_root() -> None:
    assert state.workspace_root("/") is None
