# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Generations and the route table on disk."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turbolift import spec
from turbolift.deploy.platform import App, Release
from turbolift.deploy.state import Generation, State
from turbolift.errors import DeployError, DocumentError
from unit.deploy.releases import serving

TABLES = st.dictionaries(st.sampled_from(["m:a", "m:b", "m:c"]), st.integers(1, 3))


@pytest.fixture
def state(tmp_path: Path) -> State:
    """An empty state."""
    return State(tmp_path / "deploy", "deploy")


def test_nothing_is_current_at_first(state: State) -> None:
    assert state.current() == Generation()
    assert not state.exists()


def test_switch_writes_a_table_that_callers_accept(state: State) -> None:
    state.folder.mkdir()
    generation = state.switch(Generation(), {"m:f": serving("m:f", id="x")})
    table = spec.load("route-table", state.routes)
    assert table["generation"] == generation.number == 1
    assert table["platform"] == "local"
    assert table["routes"]["m:f"] == {
        "version": generation.serving["m:f"].release.version,
        "endpoint": "unix:///run/x.sock",
        "contract": "sha256:" + "c" * 64,
        "timeout": 5.0,
        "idempotent": True,
    }
    assert state.current() == generation
    assert state.routes.stat().st_mode & 0o777 == 0o600


def test_a_name_for_each_replica_is_routed_and_remembered(state: State) -> None:
    state.folder.mkdir()
    plain = serving("m:f")
    instance = replace(plain.instance, endpoint="https://f.svc:8080", each="https://f-each.svc:8080")
    generation = state.switch(Generation(), {"m:f": replace(plain, instance=instance), "m:g": serving("m:g")})
    routes = spec.load("route-table", state.routes)["routes"]
    assert routes["m:f"]["replicas"] == ["https://f-each.svc:8080#each"]
    assert routes["m:f"]["server_name"] == "f.svc"
    assert "replicas" not in routes["m:g"]
    assert state.current() == generation
    # Of an instance without one nothing is written that a deployer from before there were such names refuses.
    kept = json.loads((state.folder / "generations" / "000001.json").read_text("utf-8"))
    assert "each" not in kept["serving"]["m:g"]["instance"]


def test_restart_is_no_rollout(state: State) -> None:
    state.folder.mkdir()
    one = state.switch(Generation(), {"m:f": serving("m:f", 1)})
    two = state.switch(one, {"m:f": serving("m:f", 2)})
    three = state.switch(two, {"m:f": serving("m:f", 2, id="again")})
    assert (one.rollback, two.rollback, three.rollback) == (None, 1, 1)
    assert three.before["m:f"].version == one.serving["m:f"].release.version
    assert state.generation(1) is not None
    assert state.generation(2) is None


def test_generation_of_a_killed_run_is_never_current(state: State) -> None:
    state.folder.mkdir()
    one = state.switch(Generation(), {"m:f": serving("m:f", 1)})
    # Killed between the two writes: the generation is there, the table is the old one.
    table = state.routes.read_bytes()
    state.switch(one, {"m:f": serving("m:f", 2)})
    state.routes.write_bytes(table)
    state._write(one)
    assert state.current() == one
    two = state.switch(one, {"m:f": serving("m:f", 3)})
    assert two.number == 2
    assert state.current() == two


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "routes.json:1:2: this route table is not JSON"),
        ("{}", "not a valid route table: at $"),
    ],
)
def test_broken_table_is_named(state: State, text: str, said: str) -> None:
    state.folder.mkdir()
    state.routes.write_text(text)
    with pytest.raises(DocumentError) as error:
        state.current()
    assert said in str(error.value)


def test_table_without_its_generation_is_named(state: State) -> None:
    state.folder.mkdir()
    state.switch(Generation(), {"m:f": serving("m:f")})
    (state.folder / "generations" / "000001.json").write_text('{"version": 1}')
    with pytest.raises(DocumentError, match=r"000001\.json: not a generation.*'generation'"):
        state.current()


def test_document_of_another_turbolift_is_refused(state: State) -> None:
    state.folder.mkdir()
    state.switch(Generation(), {"m:f": serving("m:f")})
    path = state.folder / "generations" / "000001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(DeployError, match="another turbolift"):
        state.current()


@settings(deadline=None, max_examples=60)
@given(st.lists(TABLES, max_size=7))
def test_what_was_before_is_kept_and_nothing_older(tables: list[dict[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder), "deploy")
        current = Generation()
        history: list[dict[str, int]] = [{}]
        for table in tables:
            current = state.switch(current, {name: serving(name, version) for name, version in table.items()})
            if table != history[-1]:
                history.append(table)
            assert state.current() == current
            former = None if current.rollback is None else state.generation(current.rollback)
            if former is not None:
                assert former.versions() == {
                    name: (serving(name, version).release.version, "local")
                    for name, version in history[-2].items()
                }
            for name, one in current.before.items():
                # The last version of a function that is not its current one.
                seen = [table[name] for table in history if name in table]
                now = table.get(name)
                assert one.version == serving(name, [v for v in seen if v != now][-1]).release.version
            assert len(list((state.folder / "generations").iterdir())) <= 2


def app(version: int, *pins: Release, kind: str = "deployment") -> App:
    """Return an app at a version, pinned to `pins`."""
    release = Release("m:main", f"{version:064x}", f"sha256:{version:064x}", "k8s", {"kind": kind})
    return App(release, pins)


def test_apps_are_part_of_the_generation_of_their_switch(state: State) -> None:
    state.folder.mkdir()
    published: list[Mapping[str, bytes]] = []
    one = state.switch(Generation(), {"m:f": serving("m:f", 1)})
    first = app(1, one.serving["m:f"].release)
    noted = state.note_apps(Generation(), one, {"m:main": first}, published.append)
    assert (noted.number, noted.rollback) == (one.number, one.rollback)
    assert state.current() == noted
    assert published[-1].keys() == {"routes.json", "generations/000001.json"}
    assert state.note_apps(one, noted, {"m:main": first}, published.append) is noted
    assert len(published) == 1

    two = state.switch(noted, {"m:f": serving("m:f", 2)})
    # The function is switched; the app is as it was, with what it calls, until its own new version runs.
    assert state.current().apps == {"m:main": first}
    second = app(2, two.serving["m:f"].release)
    both = state.note_apps(noted, two, {"m:main": second})
    assert (both.number, both.rollback) == (2, 1)
    assert state.current().apps_before == {"m:main": first}
    assert {one.version for one in state.kept()} >= {
        first.release.version,
        first.pins[0].version,
        second.release.version,
    }


def test_a_new_version_of_an_app_alone_can_be_come_back_from(state: State) -> None:
    state.folder.mkdir()
    one = state.switch(Generation(), {"m:f": serving("m:f", 1)})
    one = state.note_apps(Generation(), one, {"m:main": app(1)})
    two = state.note_apps(one, one, {"m:main": app(2)})
    assert (two.number, two.rollback) == (2, 1)
    former = state.generation(1)
    assert former is not None
    assert former.apps == {"m:main": app(1)}
    # Going back is a version of its own, and so is going forward again.
    three = state.note_apps(two, two, former.apps)
    assert three.apps_before == {"m:main": app(2)}
    assert spec.load("route-table", state.routes)["generation"] == 3
    gone = state.note_apps(three, three, {})
    assert gone.apps_before == {"m:main": app(1)}


def test_a_generation_from_before_apps_is_read(state: State) -> None:
    state.folder.mkdir()
    state.switch(Generation(), {"m:f": serving("m:f")})
    path = state.folder / "generations" / "000001.json"
    document = json.loads(path.read_text("utf-8"))
    del document["apps"], document["apps_before"]
    path.write_text(json.dumps(document), "utf-8")
    assert state.current().apps == {}
