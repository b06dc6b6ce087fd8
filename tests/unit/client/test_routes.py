# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The route table: found, read, checked, and followed when it is replaced."""

from __future__ import annotations

import copy
import json
import os
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turbolift.client import RouteSource, parse_table
from turbolift.client.routes import MOMENT
from turbolift.errors import ConfigurationError, DocumentError, NotRoutedError
from turbolift.spec import routes_path, schema

ROUTE: dict[str, Any] = {
    "version": "0" * 64,
    "endpoint": "unix:///run/x.sock",
    "contract": "sha256:" + "1" * 64,
    "timeout": 5.0,
    "idempotent": True,
}
TABLE: dict[str, Any] = {
    "version": 1,
    "deployment": "deploy",
    "platform": "local",
    "generation": 3,
    "routes": {"pricing.quote:quote": ROUTE},
}

VALIDATOR = jsonschema.Draft202012Validator(schema("route-table"))

SECURE = {**ROUTE, "endpoint": "https://10.0.0.1:8080", "server_name": "h.svc"}

# Values that are right somewhere, and values that are nearly right.
values = st.sampled_from(
    [
        None, True, False, 0, 1, 1.0, 2, -1, 3.5, 4.0, -0.0, 1e400, "", "x", "deploy", "m:f", "m f", "m:f\n", ":f",
        "a:b:c", "ü:ß", "0" * 64, "0" * 63, "0" * 64 + "\n", "G" * 64, "sha256:" + "1" * 64, "sha256:" + "1" * 65,
        "unix:///x", "unix://x", "unix:///", "unix:///a\nb", "http://h:1", "https://h", "http://h/p", "http://",
        "ftp://h", "http://h\n", "https://h:1", "https://[::1]:1", "h.svc", [], {}, [1], {"m:f": ROUTE}, ROUTE,
        ["unix:///x"], ["http://h", "x"], ["http://h:1#each"], ["https://h#each", "http://h"], ["unix:///x#each", "unix:///y"],
        ["http://h\n#each", "http://h"], ["http://h#each\n", "http://h"],
    ]
)  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A valid table, changed in a few places: a member replaced, removed, or added at any depth."""
    document: Any = copy.deepcopy(TABLE)
    if draw(st.booleans()):
        document["routes"]["pricing.quote:quote"] = copy.deepcopy(SECURE)
    if draw(st.booleans()):
        document["routes"]["pricing.quote:quote"]["replicas"] = [
            "unix:///run/y.sock",
            "https://10.0.0.2:8080",
        ]
    for _ in range(draw(st.integers(0, 3))):
        node = document
        while True:
            key = draw(st.sampled_from([*sorted(node), "extra", "m:f", "a b:c", "server_name", "replicas"]))
            inner = node.get(key)
            if isinstance(inner, dict) and inner and draw(st.booleans()):
                node = inner
                continue
            if draw(st.booleans()):
                node.pop(key, None)
            else:
                node[key] = copy.deepcopy(draw(values))
            break
    return document


@settings(max_examples=1500, deadline=None)
@given(documents() | values)
def test_the_hand_written_check_and_the_schema_are_one(document: Any) -> None:
    try:
        parse_table(document, "here")
        accepted = True
    except DocumentError:
        accepted = False
    assert accepted == VALIDATOR.is_valid(document)


def test_a_table() -> None:
    table = parse_table(TABLE, "here")
    route = table.route("pricing.quote:quote")
    assert (route.endpoint, route.timeout, route.idempotent) == ("unix:///run/x.sock", 5.0, True)
    assert (table.deployment, table.platform, table.generation) == ("deploy", "local", 3)
    with pytest.raises(NotRoutedError, match=r"shop:f has no route in here .*\./pants run deploy"):
        table.route("shop:f")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"version": 2}, "$.version"),
        ({"generation": -1}, "$.generation"),
        ({"deployment": ""}, "$.deployment"),
        ({"routes": {"x": ROUTE}}, "$.routes['x']"),
        ({"routes": {"m:f": {**ROUTE, "endpoint": "x"}}}, "$.routes['m:f'].endpoint"),
        ({"routes": {"m:f": {**ROUTE, "timeout": 0}}}, "$.routes['m:f'].timeout"),
        ({"routes": {"m:f": {}}}, "$.routes['m:f']"),
        ({"more": 1}, "$"),
    ],
)
def test_a_broken_table_names_the_place(change: dict[str, Any], path: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_table({**TABLE, **change}, "f.json")
    assert caught.value.path == path
    assert str(caught.value).startswith(f"f.json: not a valid route table: at {path}: ")


def write(path: Path, document: Any) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(document if isinstance(document, str) else json.dumps(document))
    beside.replace(path)


def test_a_replaced_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    source = RouteSource({"TURBOLIFT_ROUTES": str(path)})
    with pytest.raises(NotRoutedError, match="there is no route table"):
        source.table()
    for generation in range(50):
        write(path, {**TABLE, "generation": generation})
        # The same size and, for all one knows, the same time: the inode tells.
        os.utime(path, ns=(0, 0))
        assert source.table().generation == generation
        assert source.table() is source.table()
    path.unlink()
    with pytest.raises(NotRoutedError):
        source.table()


def test_a_replaced_file_is_seen_after_a_moment_and_another_environment_at_once(tmp_path: Path) -> None:
    path, other = tmp_path / "routes.json", tmp_path / "other.json"
    environ = {"TURBOLIFT_ROUTES": str(path)}
    source = RouteSource(environ)
    with pytest.raises(NotRoutedError):
        source.current()
    write(other, {**TABLE, "generation": 77})
    for generation in range(20):
        write(path, {**TABLE, "generation": generation})
        os.utime(path, ns=(0, 0))
        time.sleep(MOMENT)
        assert source.current().generation == generation
        environ["TURBOLIFT_ROUTES"] = str(other)
        assert source.current().generation == 77
        environ["TURBOLIFT_ROUTES"] = str(path)
        assert source.current().generation == generation
    path.unlink()
    time.sleep(MOMENT)
    for _ in range(2):
        with pytest.raises(NotRoutedError):
            source.current()
    write(path, TABLE)
    assert source.current().generation == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1:1: this route table is not JSON"),
        ('{"version": 1,\n  oops}', ":2:3: this route table is not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "at $: must be an object"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "routes.json"
    write(path, text)
    source = RouteSource({"TURBOLIFT_ROUTES": str(path)})
    for _ in range(2):
        with pytest.raises(DocumentError) as caught:
            source.table()
        assert str(caught.value).startswith(str(path))
        assert said in str(caught.value)
    write(path, TABLE)
    assert source.table().generation == 3


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot read this route table: Is a directory"):
        RouteSource({"TURBOLIFT_ROUTES": str(tmp_path)}).table()
    (tmp_path / "latin").write_bytes(b'"\xe9"')
    with pytest.raises(DocumentError, match="not JSON"):
        RouteSource({"TURBOLIFT_ROUTES": str(tmp_path / "latin")}).table()


def test_inline_json() -> None:
    environ = {"TURBOLIFT_ROUTES": "  " + json.dumps(TABLE)}
    source = RouteSource(environ)
    assert source.table().source == "TURBOLIFT_ROUTES"
    assert source.table() is source.table()
    environ["TURBOLIFT_ROUTES"] = json.dumps({**TABLE, "generation": 9})
    assert source.table().generation == 9
    environ["TURBOLIFT_ROUTES"] = "{}"
    with pytest.raises(DocumentError, match="TURBOLIFT_ROUTES: not a valid route table"):
        source.table()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "repo"
    (root / "deep" / "down").mkdir(parents=True)
    (root / "pants.toml").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(root / "deep" / "down")
    return root


def state_source(**more: str) -> RouteSource:
    return RouteSource({"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"], **more})


def test_the_state_folder_of_the_workspace(workspace: Path) -> None:
    source = state_source()
    with pytest.raises(NotRoutedError, match=r"no route table below .*repo-[0-9a-f]{8}: deploy with"):
        source.table()
    path = routes_path(workspace, "deploy")
    path.parent.mkdir(parents=True)
    write(path, TABLE)
    assert source.table().source == str(path)
    other = routes_path(workspace, "staging")
    other.parent.mkdir(parents=True)
    write(other, {**TABLE, "deployment": "staging"})
    with pytest.raises(
        NotRoutedError, match=r"several deployments below .*: deploy, staging; set TURBOLIFT_DEPLOYMENT"
    ):
        state_source().table()
    # Also where the first was found before the second was there.
    with pytest.raises(NotRoutedError, match="several deployments"):
        source.table()
    assert state_source(TURBOLIFT_DEPLOYMENT="staging").table().deployment == "staging"
    with pytest.raises(NotRoutedError, match="there is no route table"):
        state_source(TURBOLIFT_DEPLOYMENT="none").table()
    with pytest.raises(ConfigurationError, match=r"TURBOLIFT_DEPLOYMENT='\.\./x'"):
        state_source(TURBOLIFT_DEPLOYMENT="../x").table()


def test_outside_of_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotRoutedError, match=r"no pants\.toml at or above .*set TURBOLIFT_ROUTES"):
        RouteSource({}).table()


@pytest.mark.parametrize(
    ("endpoint", "given", "expected"),
    [
        ("https://h.svc:8080", None, "h.svc"),
        ("https://h.svc", None, "h.svc"),
        ("https://[fd00::1]:8080", None, "fd00::1"),
        ("https://10.0.0.1:8080", "h.svc", "h.svc"),
        ("http://h.svc:8080", None, None),
        ("unix:///run/x.sock", None, None),
    ],
)
def test_whose_certificate_a_server_must_show(
    tmp_path: Path, endpoint: str, given: str | None, expected: str | None
) -> None:
    route = {**ROUTE, "endpoint": endpoint, **({} if given is None else {"server_name": given})}
    path = tmp_path / "routes.json"
    path.write_text(json.dumps({**TABLE, "routes": {"m:f": route}}))
    found = RouteSource({"TURBOLIFT_ROUTES": str(path)}).table().route("m:f").tls
    assert found == (None if expected is None else (expected, str(tmp_path / "tls")))
    elsewhere = {"TURBOLIFT_ROUTES": str(path), "TURBOLIFT_CALLER_TLS": "/run/mine"}
    found = RouteSource(elsewhere).table().route("m:f").tls
    assert found == (None if expected is None else (expected, "/run/mine"))
    inline = RouteSource({"TURBOLIFT_ROUTES": path.read_text()}).table().route("m:f").tls
    # Never what happens to be in the current folder.
    assert inline == (None if expected is None else (expected, ""))


def test_a_name_is_for_tls_alone() -> None:
    with pytest.raises(
        DocumentError, match=r"server_name: is for an https:// endpoint, not 'unix:///run/x.sock'"
    ):
        parse_table({**TABLE, "routes": {"m:f": {**ROUTE, "server_name": "h"}}}, "here")
