# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry as a process on a loopback port, for tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "s3cret"
# bcrypt of it, the one form that the registry takes.
_HTPASSWD = "ann:$2b$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG\n"


@contextmanager
def running(folder: Path, *, read_only: bool = False, private: bool = False) -> Iterator[str]:
    """Run a registry that keeps its images in `folder`; yields ``127.0.0.1:port``. `private`: only ann may use
    it.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (Debian: apt-get install docker-registry)")
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
