# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicy (networking.k8s.io/v1) as rules of iptables: from the cluster's objects to the text that iptables-restore reads.

The semantics are the API's: a pod that some policy selects for a direction is closed in it, but for what any of its policies lets
through; one that none selects is open. Replies always pass, and so does what a node itself sends to its pods (probes).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]
CHAIN = "TURBOLIFT-POLICY"


@dataclass(frozen=True)
class Pod:
    """What rules need to know of a running pod with an address of its own."""

    namespace: str
    name: str
    node: str
    address: str
    labels: dict[str, str] = field(hash=False)
    ports: tuple[tuple[str, str, int], ...] = ()  # (name, protocol, number)


def pods(documents: Iterable[Document]) -> list[Pod]:
    """Return the pods that have an address of their own, in a fixed order."""
    found = []
    for one in documents:
        address = one.get("status", {}).get("podIP")
        ended = one.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if not address or ended or one["spec"].get("hostNetwork"):
            continue
        ports = tuple(
            (port["name"], port.get("protocol", "TCP"), int(port["containerPort"]))
            for container in one["spec"]["containers"]
            for port in container.get("ports", ())
            if port.get("name")
        )
        metadata = one["metadata"]
        node = one["spec"].get("nodeName", "")
        found.append(
            Pod(metadata["namespace"], metadata["name"], node, address, metadata.get("labels", {}), ports)
        )
    return sorted(found, key=lambda pod: (pod.namespace, pod.name))


def rules(
    node: str, all_pods: list[Pod], namespaces: dict[str, dict[str, str]], policies: list[Document]
) -> str:
    """Return the input of `iptables-restore --noflush` for one node. `namespaces` has each namespace's labels.

    Every chain is filled anew in one transaction. Chains of pods that are gone become empty and stay.
    """
    chains: dict[str, list[str]] = {}
    top = ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"]
    for pod in all_pods:
        if pod.node != node:
            continue
        for direction, match in (("Ingress", "-d"), ("Egress", "-s")):
            selecting = [policy for policy in policies if _selects(policy, pod, direction)]
            if not selecting:
                continue
            name = f"TLP-{direction[:2].upper()}-{pod.address}"
            allowed = [
                line
                for policy in selecting
                for line in _allowed(policy, direction, pod, all_pods, namespaces)
            ]
            chains[name] = [*dict.fromkeys(allowed), "-j REJECT"]
            top.append(f"{match} {pod.address}/32 -j {name}")
    lines = ["*filter", *(f":{name} - [0:0]" for name in [CHAIN, *chains])]
    lines += [f"-A {name} {rule}" for name, body in [(CHAIN, top), *chains.items()] for rule in body]
    return "\n".join([*lines, "COMMIT", ""])


def matches(selector: Document | None, labels: dict[str, str]) -> bool:
    """Whether a label selector matches; the empty one matches all."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for one in selector.get("matchExpressions", ()):
        key, operator, values = one["key"], one["operator"], one.get("values", ())
        holds = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[operator]
        if not holds:
            return False
    return True


def _selects(policy: Document, pod: Pod, direction: str) -> bool:
    spec = policy["spec"]
    kinds = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    in_namespace = policy["metadata"]["namespace"] == pod.namespace
    return in_namespace and direction in kinds and matches(spec.get("podSelector"), pod.labels)


def _allowed(
    policy: Document,
    direction: str,
    pod: Pod,
    all_pods: list[Pod],
    namespaces: dict[str, dict[str, str]],
) -> Iterator[str]:
    """Yield what one policy lets through, as rules that return to the chain before."""
    ingress = direction == "Ingress"
    peers_key, flag = ("from", "-s") if ingress else ("to", "-d")
    for rule in policy["spec"].get(direction.lower()) or ():
        peers = rule.get(peers_key) or [None]
        for peer in peers:
            for address, others in _addresses(peer, policy["metadata"]["namespace"], all_pods, namespaces):
                match = f"{flag} {address} " if address else ""
                for port in _ports(rule.get("ports") or [], [pod] if ingress else others):
                    yield f"{match}{port}-j RETURN"


def _addresses(
    peer: Document | None,
    own: str,
    all_pods: list[Pod],
    namespaces: dict[str, dict[str, str]],
) -> Iterator[tuple[str, list[Pod]]]:
    """Yield the addresses of a peer, "" for everybody, each with the pods that a named port of it is looked up in."""
    if peer is None:
        yield "", all_pods
    elif "ipBlock" in peer:
        whole = [ipaddress.ip_network(peer["ipBlock"]["cidr"])]
        for hole in map(ipaddress.ip_network, peer["ipBlock"].get("except", ())):
            whole = [part for net in whole for part in _without(net, hole)]
        for net in whole:
            if net.version == 4:
                yield str(net), all_pods
    else:
        for other in all_pods:
            if "namespaceSelector" in peer:
                inside = matches(peer["namespaceSelector"], namespaces.get(other.namespace, {}))
            else:
                inside = other.namespace == own
            if inside and matches(peer.get("podSelector"), other.labels):
                yield f"{other.address}/32", [other]


def _without(net: Any, hole: Any) -> Iterable[Any]:
    """Return the parts of a network that are not in another."""
    if net.version != hole.version or not net.overlaps(hole):
        return [net]
    return net.address_exclude(hole) if hole.subnet_of(net) and hole != net else []


def _ports(ports: list[Document], servers: list[Pod]) -> Iterator[str]:
    """Yield matches on the port that is called; `servers` are the pods that may be."""
    if not ports:
        yield ""
    for one in ports:
        protocol = one.get("protocol", "TCP")
        flag = f"-p {protocol.lower()} "
        port = one.get("port")
        if port is None:
            yield flag
        elif isinstance(port, str):
            numbers = {
                n for pod in servers for name, kind, n in pod.ports if (name, kind) == (port, protocol)
            }
            for number in sorted(numbers):
                yield f"{flag}--dport {number} "
        else:
            yield f"{flag}--dport {port}:{one.get('endPort', port)} "
