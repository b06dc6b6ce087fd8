# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The table of ``forward`` follows the cluster's: a version's way is open before the table names it, and some time after."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from turbolift.client.transport import Tls
from turbolift.deploy.forwarding import LiveTable
from turbolift.deploy.platform import Reach


class Ways:
    """Ways to versions: which are open, and what the table said when one was opened or closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: set[str] = set()
        self.refuse = False

    @contextlib.contextmanager
    def way(self, function: str, route: Mapping[str, Any]) -> Iterator[Reach]:
        if self.refuse:
            raise OSError("no")
        endpoint = f"unix:///run/{function}-{route['version']}"
        assert endpoint not in self.named()
        self.open.add(endpoint)
        tls = self.path.parent / f"{function}-{route['version']}"
        tls.mkdir(exist_ok=True)
        (tls / "tls.crt").write_text(route["version"])
        yield Reach(
            endpoint, Tls(f"{function}.svc", str(tls)) if route["endpoint"].startswith("https:") else None
        )
        assert endpoint not in self.named() or not self.path.exists()
        self.open.remove(endpoint)

    def named(self) -> set[str]:
        """Return the endpoints that a caller finds now."""
        if not self.path.exists():
            return set()
        return {one["endpoint"] for one in json.loads(self.path.read_text("utf-8"))["routes"].values()}


def table(generation: int, *, scheme: str = "http", **versions: str) -> dict[str, Any]:
    routes = {
        name: {"version": version, "endpoint": f"{scheme}://{name}-{version}.svc:8080", "timeout": 5.0}
        for name, version in versions.items()
    }
    return {"generation": generation, "routes": routes}


def test_a_switch_is_followed_and_the_old_way_stays_for_calls_on_it(tmp_path: Path) -> None:
    ways = Ways(tmp_path / "routes.json")
    live = LiveTable(ways.path, ways.way)
    live.update(table(1, f="a", g="a"))
    assert ways.named() == ways.open == {"unix:///run/f-a", "unix:///run/g-a"}
    written = ways.path.stat()
    live.update(table(1, f="a", g="a"))
    assert ways.path.stat() == written

    live.update(table(2, f="b", g="a"))
    assert ways.named() == {"unix:///run/f-b", "unix:///run/g-a"}
    assert ways.open == {"unix:///run/f-a", "unix:///run/f-b", "unix:///run/g-a"}
    found = json.loads(ways.path.read_text("utf-8"))
    assert found["generation"] == 2
    assert found["routes"]["f"]["timeout"] == 5.0
    ways.path.unlink()
    live.close()
    assert ways.open == set()


def test_an_old_way_is_closed_in_the_end(tmp_path: Path) -> None:
    ways = Ways(tmp_path / "routes.json")
    live = LiveTable(ways.path, ways.way, keep=0.0)
    live.update(table(1, f="a"))
    live.update(table(2, f="b"))
    live.update(table(2, f="b"))
    assert ways.open == ways.named() == {"unix:///run/f-b"}
    # And back: a way of its own, as the first is closed.
    live.update(table(3, f="a"))
    assert ways.named() == {"unix:///run/f-a"}


def test_a_table_whose_ways_cannot_all_be_opened_is_not_taken(tmp_path: Path) -> None:
    ways = Ways(tmp_path / "routes.json")
    live = LiveTable(ways.path, ways.way)
    live.update(table(1, f="a"))
    ways.refuse = True
    with pytest.raises(OSError, match="no"):
        live.update(table(2, f="b"))
    assert ways.named() == {"unix:///run/f-a"}
    ways.refuse = False
    live.update(table(2, f="b"))
    assert ways.named() == {"unix:///run/f-b"}


def test_a_caller_finds_whom_to_trust_and_who_it_is_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    ways = Ways(tmp_path / "here" / "routes.json")
    live = LiveTable(ways.path, ways.way, keep=0.0)
    for generation, version in enumerate("ab"):
        live.update(table(generation, scheme="https", f=version))
        found = json.loads(ways.path.read_text("utf-8"))["routes"]["f"]
        assert found["server_name"] == "f.svc"
        assert (ways.path.parent / "tls" / "tls.crt").read_text("utf-8") == version
    ways.path.unlink()
    live.close()


def test_the_pods_of_a_cluster_are_no_endpoints_here(tmp_path: Path) -> None:
    ways = Ways(tmp_path / "routes.json")
    live = LiveTable(ways.path, ways.way)
    given = table(1, scheme="https", f="a")
    given["routes"]["f"] |= {"replicas": ["https://f-a-each.svc:8080#each"], "server_name": "f-a.svc"}
    live.update(given)
    route = json.loads(ways.path.read_text("utf-8"))["routes"]["f"]
    assert "replicas" not in route
    assert (route["endpoint"], route["server_name"]) == ("unix:///run/f-a", "f.svc")
    assert "replicas" in given["routes"]["f"]
    ways.path.unlink()
    live.close()
