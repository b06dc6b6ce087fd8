# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Refresh every lock of this repository: `./pants run build-support:lock [-- --upgrade] [-- --check] [NAME ...]`.

Each lock is a requirement list with hashes. It names no index, so that it is the same wherever it was written, and it
records the sha256 of the requirements it was made from, so that a test can tell a stale one without a network.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HEADER = "# Made by `./pants run build-support:lock` from {source}, sha256 {digest}.\n"


@dataclass(frozen=True)
class Lock:
    """A list of requirements and what it is locked to; `python` is the oldest CPython that installs it."""

    source: str
    target: str
    python: str

    @property
    def name(self) -> str:
        """The name on the command line."""
        return Path(self.target).stem

    def digest(self, root: Path) -> str:
        """Return the sha256 of the requirements, comments and blank lines left out."""
        lines = (line.split("#")[0].strip() for line in (root / self.source).read_text("utf-8").splitlines())
        return hashlib.sha256("\n".join(sorted(line for line in lines if line)).encode()).hexdigest()

    def header(self, root: Path) -> str:
        """Return the lock's first line."""
        return HEADER.format(source=self.source, digest=self.digest(root))

    def is_fresh(self, root: Path) -> bool:
        """Return whether the lock was made from the requirements as they are now."""
        path = root / self.target
        return path.is_file() and path.read_text("utf-8").startswith(self.header(root))


LOCKS = (
    Lock("3rdparty/python/requirements.txt", "3rdparty/python/default.lock", "3.11"),
    Lock("3rdparty/python/requirements-plugin.txt", "3rdparty/python/plugin.lock", "3.9"),
    Lock("3rdparty/python/requirements-pytest.txt", "3rdparty/python/pytest.lock", "3.9"),
    Lock("3rdparty/python/requirements-tools.txt", "3rdparty/python/tools.lock", "3.11"),
    Lock("build-support/locks/pants.in", "build-support/locks/pants.txt", "3.9"),
    Lock("build-support/locks/pex-cli.in", "build-support/locks/pex-cli.txt", "3.9"),
    Lock("build-support/locks/image-tool.in", "build-support/locks/image-tool.txt", "3.11"),
    Lock("build-support/locks/deploy-tool.in", "build-support/locks/deploy-tool.txt", "3.11"),
    *(
        Lock(f"benchmarks/calls/locks/{peer}.in", f"benchmarks/calls/locks/{peer}.txt", "3.11")
        for peer in (
            "bentoml",
            "celery",
            "dask",
            "fastapi",
            "functions-framework",
            "grpc",
            "kubetorch",
            "pyro5",
            "raw",
            "ray",
            "rpyc",
        )
    ),
)


def compile_lock(lock: Lock, root: Path, *, upgrade: bool) -> bool:
    """Write the lock; return whether it changed."""
    target = root / lock.target
    before = target.read_text("utf-8") if target.exists() else ""
    command = [
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--universal",
        "--no-annotate",
        "--no-header",
    ]
    command += ["--python-version", lock.python, "--output-file", str(target), str(root / lock.source)]
    if upgrade:
        command.append("--upgrade")
    subprocess.run(command, check=True, cwd=root, stdout=subprocess.DEVNULL)
    pins = "".join(line for line in target.read_text("utf-8").splitlines(True) if not line.startswith("#"))
    if "://" in pins:
        raise SystemExit(
            f"error: {lock.target} names an address; requirements must be plain names and versions"
        )
    after = lock.header(root) + pins
    target.write_text(after, "utf-8")
    return after != before


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="./pants run build-support:lock --", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="locks to refresh (default: all): " + ", ".join(lock.name for lock in LOCKS),
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions that the requirements allow"
    )
    parser.add_argument("--check", action="store_true", help="only say which locks are stale")
    options = parser.parse_args()
    root = Path.cwd()
    unknown = set(options.names) - {lock.name for lock in LOCKS}
    if unknown:
        parser.error(f"no such lock: {', '.join(sorted(unknown))}")
    chosen = [lock for lock in LOCKS if not options.names or lock.name in options.names]
    if options.check:
        stale = [lock for lock in chosen if not lock.is_fresh(root)]
        for lock in stale:
            print(
                f"{lock.target}: stale: {lock.source} has changed; run ./pants run build-support:lock",
                file=sys.stderr,
            )
        return 1 if stale else 0
    for lock in chosen:
        print(
            f"{lock.target}: {'refreshed' if compile_lock(lock, root, upgrade=options.upgrade) else 'unchanged'}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
