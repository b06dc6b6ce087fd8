# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The plan of a rollout."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turbolift.deploy.plan import STARTS, Action, plan, summary
from unit.deploy.releases import release, serving

NAMES = st.sampled_from(["m:a", "m:b", "m:c", "m:d"])
VERSIONS = st.dictionaries(NAMES, st.tuples(st.integers(1, 2), st.sampled_from(["local", "k8s"])))


def test_each_action() -> None:
    steps = plan(
        [release("m:new"), release("m:same"), release("m:edited", 2), release("m:dead"), release("m:moved")],
        {
            "m:same": serving("m:same"),
            "m:edited": serving("m:edited", 1),
            "m:dead": serving("m:dead"),
            "m:moved": serving("m:moved", platform="docker"),
            "m:gone": serving("m:gone"),
        },
        {"m:same", "m:edited", "m:moved", "m:gone"},
    )
    assert [(step.function, step.action) for step in steps] == [
        ("m:dead", Action.RESTARTED),
        ("m:edited", Action.REPLACED),
        ("m:gone", Action.RETIRED),
        ("m:moved", Action.REPLACED),
        ("m:new", Action.NEW),
        ("m:same", Action.UNCHANGED),
    ]
    assert summary(steps) == "6 functions: 1 new, 1 unchanged, 2 replaced, 1 restarted, 1 retired"
    assert summary(()) == "0 functions"


@given(VERSIONS, VERSIONS, st.sets(NAMES))
def test_plan_makes_exactly_what_is_wanted_and_touches_nothing_else(
    wanted: dict[str, tuple[int, str]], current: dict[str, tuple[int, str]], healthy: set[str]
) -> None:
    steps = plan(
        [release(name, version, platform=kind) for name, (version, kind) in wanted.items()],
        {name: serving(name, version, platform=kind) for name, (version, kind) in current.items()},
        healthy,
    )
    by_name = {step.function: step for step in steps}
    assert len(by_name) == len(steps)
    assert set(by_name) == set(wanted) | set(current)
    for name, step in by_name.items():
        assert (step.wanted is not None) == (name in wanted)
        assert (step.current is not None) == (name in current)
        untouched = step.action is Action.UNCHANGED
        assert untouched == (wanted.get(name) == current.get(name) and name in healthy)
        assert (step.action is Action.RETIRED) == (name not in wanted)
        assert (step.action in STARTS) == (name in wanted and not untouched)
