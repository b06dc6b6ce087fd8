# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A node's enforcer of NetworkPolicy: follows pods, namespaces and policies by watches, and writes the node's rules when they change.

No CNI that enforces NetworkPolicy can be had from the package registries, so this small one is ours.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from . import policy
from .api import Api, Document

_PATHS = {
    "pods": "/api/v1/pods",
    "namespaces": "/api/v1/namespaces",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
}
_SECONDS_TO_RETRY = 0.5
_SECONDS_TO_REPEAT = 10.0
_SECONDS_TO_GATHER = 0.03


class _Follower(threading.Thread):
    """Keeps a copy of all objects of a kind, by a list and then a watch, for ever."""

    def __init__(self, api: Api, path: str, changed: threading.Event) -> None:
        super().__init__(daemon=True)
        self._api, self._path, self._changed = api, path, changed
        self._lock = threading.Lock()
        self._objects: dict[str, Document] = {}
        self.listed = threading.Event()

    def objects(self) -> list[Document]:
        """Return the objects as they are now."""
        with self._lock:
            return list(self._objects.values())

    def run(self) -> None:
        """List and watch; whatever goes wrong is tried again."""
        while True:
            try:
                self._follow()
            except (OSError, ValueError, KeyError) as error:
                print(f"{self._path}: {error}", file=sys.stderr, flush=True)
                time.sleep(_SECONDS_TO_RETRY)

    def _follow(self) -> None:
        whole = self._api.get(self._path)
        with self._lock:
            self._objects = {one["metadata"]["uid"]: one for one in whole["items"]}
        self.listed.set()
        self._changed.set()
        version = whole["metadata"]["resourceVersion"]
        for event in self._api.watch(f"{self._path}?watch=1&resourceVersion={version}&timeoutSeconds=300"):
            if event["type"] == "ERROR":
                return  # too old a version: list again
            with self._lock:
                uid = event["object"]["metadata"]["uid"]
                if event["type"] == "DELETED":
                    self._objects.pop(uid, None)
                else:
                    self._objects[uid] = event["object"]
            self._changed.set()


def main(node: str, kubeconfig: Path, ready: Path) -> None:
    """Enforce on one node, for ever; makes the file `ready` once the first rules are in force."""
    changed = threading.Event()
    api = Api(kubeconfig)
    followers = {name: _Follower(api, path, changed) for name, path in _PATHS.items()}
    for follower in followers.values():
        follower.start()
    for follower in followers.values():
        follower.listed.wait()
    before = ""
    while True:
        changed.clear()
        current = {name: follower.objects() for name, follower in followers.items()}
        namespaces = {
            one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in current["namespaces"]
        }
        text = policy.rules(node, policy.pods(current["pods"]), namespaces, current["policies"])
        if _enforce(text, text != before):
            before = text
            ready.touch()
        changed.wait(_SECONDS_TO_REPEAT)
        time.sleep(_SECONDS_TO_GATHER)  # one write for events that come together


def _enforce(text: str, differs: bool) -> bool:
    """Write rules where they differ, and have them looked at first; returns whether they are in force."""
    try:
        if differs:
            _iptables("iptables-restore", "--noflush", "--wait", text=text)
        first = _iptables("iptables", "--wait", "-S", "FORWARD", "1").strip()
        if first != f"-A FORWARD -j {policy.CHAIN}":  # kube-proxy puts its own before it when it starts
            while (
                subprocess.run(
                    ["iptables", "--wait", "-D", "FORWARD", "-j", policy.CHAIN], capture_output=True
                ).returncode
                == 0
            ):
                continue  # the same jump, further down
            _iptables("iptables", "--wait", "-I", "FORWARD", "1", "-j", policy.CHAIN)
    except subprocess.CalledProcessError as error:
        print(f"{error}: {error.stderr}\n{text}", file=sys.stderr, flush=True)
        return False
    return True


def _iptables(*command: str, text: str | None = None) -> str:
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
