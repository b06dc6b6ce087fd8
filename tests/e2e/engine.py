# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A Docker engine of a test's own, beside whatever runs on the machine: own socket, folders, bridge, and no rules in iptables."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGES = ("docker.io", "iproute2")
PROGRAMS = ("docker", "dockerd", "docker-proxy", "containerd", "runc", "ip")
SUBNETS = [f"172.30.{n}.1/24" for n in range(240, 250)]
SECONDS = 60.0


@dataclass(frozen=True)
class Engine:
    """A running engine, asked by the docker command line."""

    socket: Path
    folder: Path

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker ARGUMENTS...`; raises AssertionError with what it said where `check` and it fails."""
        env = {"PATH": path(), "HOME": str(self.folder), "DOCKER_HOST": f"unix://{self.socket}"}
        done = subprocess.run(
            ["docker", *arguments], env=env, capture_output=True, encoding="utf-8", check=False, timeout=300
        )
        assert not check or done.returncode == 0, f"docker {arguments}: {done.stdout}{done.stderr}"
        return done

    def ask(self, *arguments: str) -> str:
        """Return what `docker ARGUMENTS...` prints."""
        return self.run(*arguments).stdout.strip()


def path() -> str:
    """Return a PATH that has the system's programs too."""
    return f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"


def missing() -> list[str]:
    """Return which of an engine's programs are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=path()) is None]


def install() -> None:
    """Install what is missing of the engine, from the system's packages; skips the test with the reason where that is impossible."""
    if os.geteuid() != 0:
        pytest.skip("an engine of our own needs root")
    if not missing():
        return
    if shutil.which("apt-get") is None:
        pytest.skip(f"there is no {', '.join(missing())} and no apt-get to install it")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": path()}
    # Another test file may be about to do the same.
    with open(Path(tempfile.gettempdir(), "turbolift-tests-apt.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if missing():
            _apt_get(env)
    if missing():
        pytest.skip(f"{', '.join(PACKAGES)} brought no {', '.join(missing())}")


def _apt_get(env: Mapping[str, str]) -> None:
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            ["apt-get", "--quiet", *command], env=env, capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode != 0:
            pytest.skip(f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}")


@contextmanager
def running() -> Iterator[Engine]:
    """Start an engine; it, its bridge and its folders are gone afterwards."""
    install()
    with tempfile.TemporaryDirectory(prefix="turbolift-docker-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        engine = Engine(folder / "docker.sock", folder)
        with _bridge() as bridge, open(folder / "log", "wb") as log:
            daemon = subprocess.Popen(
                [
                    "dockerd",
                    f"--host=unix://{engine.socket}",
                    f"--pidfile={folder}/pid",
                    f"--data-root={folder}/data",
                    f"--exec-root={folder}/exec",
                    f"--containerd-namespace=turbolift-{os.getpid()}",
                    f"--containerd-plugins-namespace=turbolift-plugins-{os.getpid()}",
                    f"--bridge={bridge}",
                    # Published ports go by docker-proxy alone: dockerd would leave its chains, and FORWARD closed.
                    "--iptables=false",
                    "--ip-forward=false",
                    "--ip-masq=false",
                    "--exec-opt=native.cgroupdriver=cgroupfs",
                    "--log-level=warn",
                ],
                env={"PATH": path(), "HOME": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                _until_up(engine, daemon)
                yield engine
            finally:
                for container in engine.run("ps", "--all", "--quiet", check=False).stdout.split():
                    engine.run("rm", "--force", container, check=False)
                daemon.send_signal(signal.SIGTERM)
                try:
                    daemon.wait(SECONDS)
                except subprocess.TimeoutExpired:
                    os.killpg(daemon.pid, signal.SIGKILL)
                    daemon.wait()
                _unmount(folder)


def _until_up(engine: Engine, daemon: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while engine.run("version", "--format={{.Server.Version}}", check=False).returncode != 0:
        if daemon.poll() is not None or time.monotonic() > end:
            said = (engine.folder / "log").read_text("utf-8", "replace")[-2000:]
            # What a kernel or a container does not allow is no fault of what is tested.
            pytest.skip(f"dockerd does not start here: {said}")
        time.sleep(0.1)


@contextmanager
def _bridge() -> Iterator[str]:
    """Make a bridge in a network that nothing here uses."""
    name = f"tl{os.getpid()}"
    env = {"PATH": path()}
    routes = json.loads(
        subprocess.run(["ip", "-json", "route"], env=env, capture_output=True, check=True).stdout
    )
    used = {route["dst"].split("/")[0].rsplit(".", 1)[0] for route in routes}
    address = next(one for one in SUBNETS if one.rsplit(".", 1)[0] not in used)
    made = subprocess.run(
        ["ip", "link", "add", "name", name, "type", "bridge"],
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"no bridge can be made here: {made.stderr.strip()}")
    try:
        subprocess.run(["ip", "address", "add", address, "dev", name], env=env, check=True)
        subprocess.run(["ip", "link", "set", name, "up"], env=env, check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], env=env, check=False)


def _unmount(folder: Path) -> None:
    """Unmount what a killed engine has left below its folders, the innermost first."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    for mount in sorted((one for one in mounts if one.startswith(f"{folder}/")), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", mount], env={"PATH": path()}, check=False)
