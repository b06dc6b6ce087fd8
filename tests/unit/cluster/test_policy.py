# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The test cluster's NetworkPolicy: what its rules let through is what the API says, packet by packet.

The rules are read as iptables reads them; tests/e2e/test_cluster.py has packets.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from cluster.turbolift_cluster.policy import CHAIN, Pod, matches, pods, rules
from hypothesis import given
from hypothesis import strategies as st

HTTP = ("http", "TCP", 8080)
WEB = Pod("shop", "web", "node-1", "10.0.1.2", {"app": "web"}, (HTTP,))
CALLER = Pod("shop", "caller", "node-1", "10.0.1.3", {"app": "caller", "may-call": "web"})
STRANGER = Pod("shop", "stranger", "node-2", "10.0.2.2", {"app": "stranger"})
NEIGHBOUR = Pod("other", "neighbour", "node-2", "10.0.2.3", {"app": "caller", "may-call": "web"})
PODS = [WEB, CALLER, STRANGER, NEIGHBOUR]
NAMESPACES = {"shop": {"team": "shop"}, "other": {"team": "other"}}
ALL = {"caller", "stranger", "neighbour"}


def policy(namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    """Return a policy."""
    return {"metadata": {"namespace": namespace, "name": "p"}, "spec": {"podSelector": {}, **spec}}


def passes(text: str, source: str, target: str, port: int = 8080, protocol: str = "tcp") -> bool:
    """Return whether a node with these rules lets a new connection through."""
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("-A "):
            _, name, rule = line.split(" ", 2)
            chains.setdefault(name, []).append(rule)

    def walk(name: str) -> bool:
        for rule in chains.get(name, ()):
            words = rule.split()
            facts = dict(itertools.pairwise(words))
            if "--ctstate" in facts:
                continue  # an established connection, which this is not
            if "-s" in facts and ipaddress.ip_address(source) not in ipaddress.ip_network(facts["-s"]):
                continue
            if "-d" in facts and ipaddress.ip_address(target) not in ipaddress.ip_network(facts["-d"]):
                continue
            if facts.get("-p", protocol) != protocol:
                continue
            if "--dport" in facts:
                first, _, last = facts["--dport"].partition(":")
                if not int(first) <= port <= int(last or first):
                    continue
            if facts["-j"] == "RETURN":
                return True
            if facts["-j"] == "REJECT":
                return False
            if not walk(facts["-j"]):
                return False
        return True

    return walk(CHAIN)


def callers(*policies: dict[str, Any], port: int = 8080) -> set[str]:
    """Return who reaches WEB."""
    text = rules("node-1", PODS, NAMESPACES, list(policies))
    return {one.name for one in PODS[1:] if passes(text, one.address, WEB.address, port)}


def ingress(*rule: dict[str, Any]) -> dict[str, Any]:
    """Return a policy for WEB."""
    return policy(podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress"], ingress=list(rule))


LABELLED = {"podSelector": {"matchLabels": {"may-call": "web"}}}
OTHER = {"namespaceSelector": {"matchLabels": {"team": "other"}}}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, ALL),
        ({"from": [LABELLED]}, {"caller"}),
        ({"from": [OTHER]}, {"neighbour"}),
        ({"from": [{"namespaceSelector": {}, **LABELLED}]}, {"caller", "neighbour"}),
        ({"from": [LABELLED, OTHER]}, {"caller", "neighbour"}),
        ({"from": [{"ipBlock": {"cidr": "10.0.2.0/24"}}]}, {"stranger", "neighbour"}),
        ({"from": [{"ipBlock": {"cidr": "10.0.2.0/24", "except": ["10.0.2.2/32"]}}]}, {"neighbour"}),
        ({"from": [LABELLED], "ports": [{"port": "http"}]}, {"caller"}),
        ({"from": [LABELLED], "ports": [{"port": 8080, "protocol": "TCP"}]}, {"caller"}),
        ({"from": [LABELLED], "ports": [{"port": 8000, "endPort": 9000}]}, {"caller"}),
        ({"from": [LABELLED], "ports": [{"port": 8081}]}, set()),
        ({"from": [LABELLED], "ports": [{"port": 8080, "protocol": "UDP"}]}, set()),
        ({"from": [LABELLED], "ports": [{"port": "admin"}]}, set()),
    ],
)
def test_a_rule_lets_its_peers_through_and_nobody_else(rule: dict[str, Any], expected: set[str]) -> None:
    assert callers(ingress(rule)) == expected


def test_who_is_selected_is_closed_and_who_is_not_is_open() -> None:
    assert callers() == ALL
    assert callers(ingress()) == set()
    assert callers(policy("other", policyTypes=["Ingress"])) == ALL
    assert callers(policy(podSelector={"matchLabels": {"app": "caller"}}, policyTypes=["Ingress"])) == ALL


def test_policies_add_up() -> None:
    assert callers(ingress({"from": [LABELLED]}), ingress({"from": [OTHER]})) == {"caller", "neighbour"}
    assert callers(ingress(), ingress({})) == ALL


def test_egress_closes_the_sender_alone() -> None:
    closed = policy(podSelector={"matchLabels": {"app": "caller"}}, policyTypes=["Egress"], egress=[])
    assert callers(closed) == {"stranger", "neighbour"}
    to_web = {"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": "http"}]}
    assert callers({**closed, "spec": {**closed["spec"], "egress": [to_web]}}) == ALL
    assert callers({**closed, "spec": {**closed["spec"], "egress": [to_web]}}, port=22) == {
        "stranger",
        "neighbour",
    }
    # Without policyTypes: egress counts where the policy speaks of it, ingress always.
    assert callers(policy(egress=[{}])) == set()
    assert callers(policy(ingress=[{}])) == ALL


def test_a_node_writes_the_rules_of_its_own_pods() -> None:
    text = rules("node-2", PODS, NAMESPACES, [ingress()])
    assert WEB.address not in text
    assert passes(text, STRANGER.address, WEB.address)
    # Established connections are looked at first, and go on.
    first = next(line for line in text.splitlines() if line.startswith(f"-A {CHAIN} "))
    assert first == f"-A {CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"


def test_names_of_chains_are_short_enough_for_iptables() -> None:
    far = Pod("shop", "web", "node-1", "100.100.100.100", {"app": "web"}, (HTTP,))
    text = rules("node-1", [far], NAMESPACES, [policy(policyTypes=["Ingress", "Egress"])])
    names = re.findall(r"^:(\S+)", text, re.MULTILINE)
    assert len(names) == 3
    assert max(map(len, names)) <= 28


@st.composite
def holes(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A network, and networks inside it, which may be in each other."""
    prefix = draw(st.integers(24, 30))
    whole = ipaddress.ip_network((draw(st.integers(0, 255)) & (0xFFFFFFFF << (32 - prefix)) & 255, prefix))
    inside = [
        str(draw(st.sampled_from(list(whole.subnets(new_prefix=draw(st.integers(prefix, 32)))))))
        for _ in range(draw(st.integers(0, 4)))
    ]
    return str(whole), inside


def _addresses(network: str) -> Iterator[str]:
    return map(str, ipaddress.ip_network(network))


@given(holes())
def test_a_block_is_its_network_without_its_holes(block: tuple[str, list[str]]) -> None:
    cidr, excluded = block
    text = rules(
        "node-1", PODS, NAMESPACES, [ingress({"from": [{"ipBlock": {"cidr": cidr, "except": excluded}}]})]
    )
    closed = {address for hole in excluded for address in _addresses(hole)}
    for address in _addresses(cidr):
        assert passes(text, address, WEB.address) == (address not in closed)


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", ["a", "b"], {"k": "b"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {}, True),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("Exists", [], {"k": ""}, True),
        ("Exists", [], {}, False),
        ("DoesNotExist", [], {}, True),
        ("DoesNotExist", [], {"k": "a"}, False),
    ],
)
def test_expressions_of_selectors(
    operator: str, values: list[str], labels: dict[str, str], expected: bool
) -> None:
    expression = {"key": "k", "operator": operator, "values": values}
    assert matches({"matchExpressions": [expression]}, labels) is expected
    assert matches({"matchExpressions": [expression], "matchLabels": {"x": "y"}}, labels) is False
    assert matches(None, labels)


def test_pods_without_an_address_of_their_own_have_no_rules() -> None:
    def document(name: str, address: str | None, phase: str = "Running", **spec: Any) -> dict[str, Any]:
        ports = [{"name": "http", "containerPort": 8080}, {"containerPort": 9000}]
        content = {"nodeName": "node-1", "containers": [{"ports": ports}, {}], **spec}
        status = {"phase": phase, **({"podIP": address} if address else {})}
        return {"metadata": {"namespace": "shop", "name": name}, "spec": content, "status": status}

    found = pods(
        [
            document("running", "10.0.1.2"),
            document("pending", None, "Pending"),
            document("done", "10.0.1.3", "Succeeded"),
            document("agent", "10.211.0.11", hostNetwork=True),
        ]
    )
    assert [(one.name, one.address, one.ports) for one in found] == [("running", "10.0.1.2", (HTTP,))]
