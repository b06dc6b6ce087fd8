# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry as a process on a loopback port, for tests."""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "s3cret"
# bcrypt of it, the one form that the registry takes.
_HTPASSWD = "ann:$2b$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG\n"


@functools.cache
def registry_program() -> str:
    """Return docker-registry: the machine's own, else Debian's, unpacked privately. Skips with the reason where there is neither."""
    path = os.pathsep.join(
        [os.environ.get("PATH", ""), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
    )
    found = shutil.which("docker-registry", path=path)
    if found is not None:
        return found
    if not all(shutil.which(name, path=path) for name in ("apt-get", "dpkg-deb")):
        pytest.skip("docker-registry is not installed, and there is no apt-get to get it by")
    folder = Path(tempfile.mkdtemp(prefix="turbolift-registry-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    env = {**os.environ, "PATH": path, "LC_ALL": "C"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    download = ("apt-get", "--quiet", "download", "docker-registry")
    done = run(*download)
    if done.returncode != 0 and os.geteuid() == 0:
        # A new machine has no lists yet; another test may be fetching them at this moment.
        with open(Path(tempfile.gettempdir(), "turbolift-tests-apt.lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run("apt-get", "--quiet", "update")
        done = run(*download)
    if done.returncode != 0:
        pytest.skip(
            f"docker-registry is not installed, and apt-get cannot get it: {done.stderr.strip()[-300:]}"
        )
    for deb in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], env=env, check=True)
    return str(folder / "usr/bin/docker-registry")


@contextmanager
def running(folder: Path, *, read_only: bool = False, private: bool = False) -> Iterator[str]:
    """Run a registry that keeps its images in `folder`; yields ``127.0.0.1:port``. `private`: only ann may use
    it.
    """
    program = registry_program()
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    maintenance = "{readonly: {enabled: true}, uploadpurging: {enabled: false}}"
    (folder / "htpasswd").write_text(_HTPASSWD)
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}, delete: {{enabled: true}}"
        + (f", maintenance: {maintenance}" if read_only else "")
        + "}\n"
        + (f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n" if private else "")
        + f'http: {{addr: "{host}"}}\n'
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", int(host.partition(":")[2]))) == 0:
                        break
                assert process.poll() is None, (folder / "registry.log").read_text()
                time.sleep(0.05)
            yield host
        finally:
            process.terminate()
            process.wait(20)
