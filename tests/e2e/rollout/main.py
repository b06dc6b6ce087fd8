# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`./pants run tests/e2e/rollout -- --json FILE`: no call is lost on a real cluster, whatever happens to it.

Two functions, one declared idempotent, are called without a pause from a pod that follows the route table and from
outside through ``forward``, while versions change, pods and processes die, a node is drained and the API server is
restarted. What ran is told to a collector outside the functions' pods before it is answered.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from e2e.kubernetes_cluster import ClusterDeployment, NoClusterError, drop_namespace, find, make_namespace
from e2e.rollout.suite import disturb, report
from e2e.rollout.suite.disturb import Disturbance
from e2e.rollout.suite.scene import DEPLOYED, Plan, Scene, SceneError, own_status, ready_nodes
from e2e.rollout.suite.tally import AFTER, BEFORE, LEAST, Tally, Window
from turbolift.errors import TurboliftError
from unit.deploy import bundles
from unit.deploy.deployments import environment

ORIGINS = ("pod", "outside")


def main() -> int:
    """Run the program; 0: every promise was kept, 1: one was not, 2: it could not be run."""
    options = _parse()
    # A run that is ended takes back what it did to the nodes, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        # The project's own cluster is started where none is given.
        os.environ.setdefault("TURBOLIFT_TEST_CLUSTER", "yes")
        real = own_status(find())
        workshop = bundles.workshop()
    except (NoClusterError, bundles.CannotBuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    namespace = make_namespace(real)
    folder = Path(tempfile.mkdtemp(prefix="tl-rollout-", dir="/tmp"))
    env = environment(folder / "state", folder)
    env["KUBECONFIG"] = real.kubeconfig
    retire = () if options.retire_after is None else ("--retire-after", f"{options.retire_after:g}")
    deployment = ClusterDeployment(workshop, folder / "machine", env, namespace, *retire, name=DEPLOYED)
    if not retire:
        # The other tests on a cluster have no callers that need the usual time.
        at = deployment.extra.index("--retire-after")
        del deployment.extra[at : at + 2]
    plan = Plan(options.in_flight, options.replicas, options.call_seconds)
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {text}", file=sys.stderr, flush=True)

    scene = Scene(real, namespace, deployment, workshop, folder, plan, say)
    try:
        wanted = [one for one in disturb.ALL if not options.only or one.name in options.only]
        done = _run(scene, wanted, options.least_calls)
    except (SceneError, TurboliftError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        scene.end()
        if options.keep:
            (folder / "facts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in scene.facts))
            say(f"kept: namespace {namespace.name}, {folder}")
        else:
            drop_namespace(namespace)
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(done, indent=2) + "\n", "utf-8")
    report.show(done)
    return 1 if done["broken"] else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./pants run tests/e2e/rollout --", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to this file")
    parser.add_argument("--in-flight", type=int, default=32, metavar="N", help="callers of each origin (32)")
    parser.add_argument("--replicas", type=int, default=3, metavar="N", help="of each function (3)")
    parser.add_argument("--call-seconds", type=float, default=0.1, metavar="S", help="of each call (0.1)")
    parser.add_argument("--retire-after", type=float, metavar="S", help="as of deploy (its own default)")
    parser.add_argument("--least-calls", type=int, default=LEAST, metavar="N", help=f"in all ({LEAST})")
    parser.add_argument(
        "--only", action="append", choices=[one.name for one in disturb.ALL], help="this one (repeatable)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the namespace, and the files, at the end")
    return parser.parse_args()


def _run(scene: Scene, wanted: list[Disturbance], least: int) -> dict[str, object]:
    begin = time.monotonic()
    kubernetes = str(scene.cluster.json("GET", "/version")["gitVersion"])
    # With one that is drained before the API server's: the loads stay where it is.
    scene.home = min(ready_nodes(scene.cluster))
    scene.say(f"Kubernetes {kubernetes}, namespace {scene.namespace.name}")
    scene.push_programs()
    scene.start_collector()
    scene.deploy(bundle=scene.build(1))
    scene.wait("all replicas", scene.is_whole, disturb.WHOLE)
    if any(one.act is disturb.rollback for one in wanted) and not any(
        one.act is disturb.deploy for one in wanted
    ):
        scene.deploy("--retire-after", "0", bundle=scene.build(2))
    scene.start_calling_pod()
    if any(one.outside for one in wanted):
        scene.start_outside()
    scene.wait_flowing()
    scene.say("calls are running")
    windows: list[Window] = []
    skipped: dict[str, str] = {}
    trouble: list[str] = []
    for one in sorted(wanted, key=lambda one: not one.outside):
        why = disturb.impossible(scene, one)
        if why is not None:
            skipped[one.name] = why
            continue
        if not one.outside and scene.outside is not None:
            scene.stop_outside()
        windows.append(_disturb(scene, one, trouble))
    if scene.outside is not None:
        scene.stop_outside()
    scene.stop_calling_pod()
    scene.collect()
    tally = Tally(scene.facts, (1, 2))
    return report.document(
        tally,
        windows,
        kubernetes=kubernetes,
        seconds=time.monotonic() - begin,
        settings={
            "in_flight": scene.plan.in_flight,
            "replicas": scene.plan.replicas,
            "call_seconds": scene.plan.seconds,
            "nodes": len(list(ready_nodes(scene.cluster))),
        },
        skipped=skipped,
        broken=[*trouble, *tally.broken(windows, least)],
    )


def _disturb(scene: Scene, one: Disturbance, trouble: list[str]) -> Window:
    time.sleep(BEFORE)
    begin = time.time()
    try:
        note = one.act(scene)
    except (SceneError, TurboliftError) as error:
        note = f"failed: {error}"
        trouble.append(f"{one.name}: {error}")
    end = time.time()
    scene.say(f"{one.name}: {note}, {end - begin:.1f} s")
    time.sleep(AFTER)
    return Window(one.name, begin, end, note, ORIGINS if one.outside else ORIGINS[:1])


if __name__ == "__main__":
    sys.exit(main())
