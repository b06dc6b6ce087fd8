# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import binaries, enforcer, host, lifecycle, node
from .errors import ClusterError
from .settings import find

_HELP = """A real Kubernetes of two nodes on this machine, for tests; see docs/cluster.md.

  up                    start it, unless it runs; the first time builds it, which takes minutes
  down                  end it, and remove all but the built programs
  status                what runs, where; exits 1 when it is not up
  kubectl ARGUMENTS     kubectl of the same version, as the administrator
  exec NODE COMMAND     run a program in a node's namespaces
  restart NODE PROGRAM  end a program of a node, such as kube-apiserver; its node starts it again
"""


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    if arguments[:1] == ["_node"]:
        node.main(Path(arguments[1]))
    if arguments[:1] == ["_enforce"]:
        enforcer.main(arguments[1], Path(arguments[2]), Path(arguments[3]))
    parser = argparse.ArgumentParser(
        prog="cluster", description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--name",
        default=os.environ.get("TURBOLIFT_CLUSTER", "default"),
        help="the cluster's name, when there are several",
    )
    parser.add_argument("command", choices=["up", "down", "status", "kubectl", "exec", "restart"])
    parser.add_argument("--json", action="store_true", help="up, status: print JSON")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.command in ("up", "down", "status"):
        if given.rest == ["--json"]:
            given.json, given.rest = True, []
        if given.rest:
            parser.error(f"{given.command} takes no {given.rest[0]}")
    try:
        return _run(given)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(given: argparse.Namespace) -> int:
    if given.command == "up":
        return _print(lifecycle.up(given.name), given.json)
    if given.command == "status":
        return _print(lifecycle.status(given.name), given.json)
    if given.command == "down":
        print(f"{given.name}: {'down' if lifecycle.down(given.name) else 'was not up'}")
        return 0
    cluster = find(given.name)
    if not cluster or not lifecycle.is_up(cluster):
        raise ClusterError(f"{given.name} is not up: `cluster up` starts it")
    if given.command == "kubectl":
        kubectl = str(binaries.kubectl())
        os.execve(kubectl, [kubectl, *given.rest], {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)})
    wanted = next((one for one in cluster.nodes if given.rest[:1] == [one.name]), None)
    if wanted is None or len(given.rest) < 2:
        raise ClusterError(
            f"{given.command} takes a node ({', '.join(one.name for one in cluster.nodes)}) and a program"
        )
    if given.command == "restart":
        pids = json.loads((wanted.folder / "processes.json").read_text())
        if given.rest[1] not in pids:
            raise ClusterError(f"{wanted.name} runs no {given.rest[1]}: it runs {', '.join(pids)}")
        # pids are the node's own, so the signal is sent from in there
        return subprocess.run(host.inside(wanted, "kill", "-KILL", str(pids[given.rest[1]]))).returncode
    path = json.loads((wanted.folder / "spec.json").read_text())["path"]
    return subprocess.run(host.inside(wanted, *given.rest[1:]), env={**os.environ, "PATH": path}).returncode


def _print(status: dict[str, Any], as_json: bool) -> int:
    if as_json:
        print(json.dumps(status, indent=1))
        return 0 if status["up"] else 1
    if not status["up"]:
        print(f"{status['name']}: not up")
        return 1
    print(f"{status['name']}: Kubernetes {status['kubernetes']}, up in {status['seconds']} s")
    for one in status["nodes"]:
        print(f"  {one['name']} {one['address']} {'Ready' if one['ready'] else 'NOT READY'}")
    for key in ("kubeconfig", "context", "registry", "problem"):
        if key in status:
            print(f"  {key}: {status[key]}")
    if not status["metrics"]:
        print("  no metrics-server: a HorizontalPodAutoscaler has no figures to go by")
    return 0
