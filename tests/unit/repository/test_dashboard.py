# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The Grafana dashboard asks for exactly the metrics that exist, by labels that they have, and Grafana can load it."""

from __future__ import annotations

import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import turbolift
from turbolift.client import Caller, Route
from turbolift.client.metrics import Collector, Tally
from turbolift.shim.gate import Gate
from turbolift.shim.metrics import Metrics

ROOT = Path(turbolift.__file__).absolute().parents[3]
BOARD: dict[str, Any] = json.loads((ROOT / "docs/grafana/turbolift.json").read_text("utf-8"))
PANELS: list[dict[str, Any]] = BOARD["panels"]
TARGETS = [target for panel in PANELS for target in panel.get("targets", ())]
# What Prometheus adds when it scrapes.
ADDED = {"instance", "job"}
WORDS = {"sum", "min", "count", "rate", "increase", "histogram_quantile", "time", "by", "on", "group_left"}


class Idle:
    """A transport with one connection."""

    def connections(self) -> dict[str, int]:
        return {"unix:///s": 1}


def exported() -> dict[str, set[str]]:
    """Return all samples that server and caller export, each with its labels."""
    from prometheus_client import CollectorRegistry, generate_latest

    metrics = Metrics("m:f", Gate(1, 1), version="v", contract="c")
    metrics.certificate_end = lambda: 1.0
    metrics.observe("ok", 0.1)
    transport: Any = Idle()
    caller = Caller(transport)
    caller.tallies["m:f"] = tally = Tally()
    tally.end("ok", 0.1)
    for _ in range(3):
        caller.health.failed(Route("v", "unix:///s", "c"), time.monotonic(), "gone")
    registry = CollectorRegistry()
    registry.register(Collector(lambda: caller))
    text = (metrics.render() + generate_latest(registry)).decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


EXPORTED = exported()


def asked(expression: str) -> set[str]:
    """Return the names of metrics in an expression: words outside of braces, brackets and lists of labels."""
    bare = re.sub(r"\b(by|on|group_left) \([^)]*\)", "", re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression))
    return set(re.findall(r"[a-z_][a-z0-9_]*", bare)) - WORDS


def test_there_is_much_to_see() -> None:
    assert len(TARGETS) > 15


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target["expr"][:60])
def test_a_panel_asks_for_what_exists(target: dict[str, Any]) -> None:
    expression = target["expr"]
    names = asked(expression)
    assert names
    assert names - EXPORTED.keys() == set()
    labels = ADDED.union(*(EXPORTED[name] for name in names))
    used = {
        label.strip()
        for listed in re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", expression)
        for label in listed.split(",")
    }
    used |= set(re.findall(r"[{,]([a-z_]+)=", expression))
    used |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    assert used - labels == set()
    for open_, close in ("()", "{}", "[]"):
        assert expression.count(open_) == expression.count(close)


def test_every_metric_of_turbolift_is_shown() -> None:
    shown = set().union(*(asked(target["expr"]) for target in TARGETS))
    ours = {name for name in EXPORTED if name.startswith("turbolift_")}
    # Prometheus makes one of its own of each counter and histogram: when it began.
    assert {name for name in ours - shown if not name.endswith("_created")} == set()


def test_every_metric_is_documented() -> None:
    text = (ROOT / "docs/observability.md").read_text("utf-8")
    told = set(re.findall(r"`(turbolift_\w+)`", text))
    families = {
        re.sub(r"_(bucket|count|sum|created)$", "", name) for name in EXPORTED if "turbolift_" in name
    }
    assert told == {name for name in families if name in EXPORTED or f"{name}_bucket" in EXPORTED}


def test_grafana_can_load_it() -> None:
    assert {
        "uid",
        "title",
        "schemaVersion",
        "version",
        "time",
        "templating",
        "panels",
        "refresh",
    } <= BOARD.keys()
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", BOARD["uid"])
    assert "id" not in BOARD  # the number of another Grafana
    variables = {variable["name"] for variable in BOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w+)", json.dumps(BOARD))) == variables
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    for panel in PANELS:
        assert {"id", "type", "title", "gridPos"} <= panel.keys()
        assert panel["type"] in {"row", "timeseries", "stat", "heatmap", "table"}
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["fieldConfig"]["defaults"]["unit"]
            references = [target["refId"] for target in panel["targets"]]
            assert references
            assert len(references) == len(set(references))


def test_panels_have_their_places() -> None:
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["w"] > 0 <= place["x"]
        assert place["h"] > 0 <= place["y"]
        assert place["x"] + place["w"] <= 24
    for one, other in itertools.combinations((panel["gridPos"] for panel in PANELS), 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
