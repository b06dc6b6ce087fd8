# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Programs built from Go modules, each set in a folder named by its version and a digest of its source."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .debian import unpack
from .errors import ClusterError
from .files import say, system_path, write
from .settings import cache_folder

SOURCES = Path(__file__).resolve().parent.parent
KUBE_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
# The Go that Debian 13 has: enough for Kubernetes 1.34, whose go.mod asks for 1.24.
_DEBIAN_GO = ("trixie", "1.24")


@dataclass(frozen=True)
class Programs:
    """Where the built programs are, and which Kubernetes they are."""

    folder: Path
    kubernetes: str

    def path(self, name: str) -> Path:
        """Return the path of one program."""
        return self.folder / name


def pinned(module: str, source: str = "kube") -> str:
    """Return the version of a module that a go.mod of ours pins, such as `v1.34.4`."""
    text = (SOURCES / source / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", text, re.M)
    if not found:
        raise ClusterError(f"{SOURCES / source / 'go.mod'} does not pin {module}")
    return found.group(1)


def kubernetes() -> Programs:
    """Return the programs of Kubernetes, etcd and pause; builds them when this source was not built before."""
    version = pinned("k8s.io/kubernetes")
    folder = cache_folder() / "bin" / f"kubernetes-{version}-{_digest('kube')}"
    major, minor, _ = version[1:].split(".", 2)
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    flags = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamps.items())
    _build("kube", folder, {"kube-all": ".", "pause": "./pause"}, flags)
    for name in KUBE_PROGRAMS:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to("kube-all")
    return Programs(folder, version)


def addons() -> dict[str, Path]:
    """Return CoreDNS and metrics-server by name; builds them when this source was not built before."""
    versions = {
        "coredns": pinned("github.com/coredns/coredns", "addons"),
        "metrics-server": pinned("sigs.k8s.io/metrics-server", "addons"),
    }
    folder = (
        cache_folder()
        / "bin"
        / f"addons-{versions['coredns']}-{versions['metrics-server']}-{_digest('addons')}"
    )
    _build("addons", folder, {name: f"./{name}" for name in versions}, "")
    return {name: folder / name for name in versions}


def _digest(source: str) -> str:
    digest = hashlib.sha256()
    for file in sorted((SOURCES / source).rglob("*")):
        if file.suffix in (".go", ".mod", ".sum"):
            digest.update(f"{file.relative_to(SOURCES)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _build(source: str, folder: Path, packages: dict[str, str], linker_flags: str) -> None:
    """Build packages of one of our modules into a folder, once. Two builds at a time wait for each other."""
    if (folder / "built").exists():
        return
    root = cache_folder()
    (root / "go").mkdir(parents=True, exist_ok=True)
    with open(root / "go" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "built").exists():
            return
        begin = time.monotonic()
        go = _go()
        env = {name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO"))}
        env |= {
            name: os.environ[name]
            for name in ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOMAXPROCS")
            if name in os.environ
        }
        env |= {
            "GOPATH": str(root / "go"),
            "GOMODCACHE": str(root / "go/mod"),
            "GOCACHE": str(root / "go/build"),
        }
        env |= {
            "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        say(
            f"building {', '.join(packages)} from Go modules: minutes, once (log: {root / 'go' / (source + '.log')})"
        )
        for name, package in packages.items():
            command = [
                go,
                "build",
                "-trimpath",
                "-ldflags",
                f"-s -w {linker_flags}",
                "-o",
                str(folder / name),
                package,
            ]
            with open(root / "go" / f"{source}.log", "ab") as log:
                done = subprocess.run(
                    ["nice", "-n", "10", *command],
                    cwd=SOURCES / source,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            if done.returncode:
                tail = (root / "go" / f"{source}.log").read_text(errors="replace")[-3000:]
                raise ClusterError(
                    f"`{' '.join(command)}` in {SOURCES / source} failed with {done.returncode}:\n{tail}"
                )
        write(folder / "built", f"{time.monotonic() - begin:.0f} s\n")
        say(f"built in {time.monotonic() - begin:.0f} s: {folder}")


def tidy() -> None:
    """Remove Go's caches, which a later `up` does not need: about 3 GB."""
    for name in ("build", "mod"):
        shutil.rmtree(cache_folder() / "go" / name, ignore_errors=True)


def _go() -> str:
    """Return a Go that is new enough for both modules: this machine's, else Debian's."""
    wanted = max(_needs(source) for source in ("kube", "addons"))
    for candidate in (shutil.which("go", path=system_path()), "/usr/local/go/bin/go", "/usr/lib/go/bin/go"):
        if candidate and os.access(candidate, os.X_OK) and _go_version(candidate) >= wanted:
            return candidate
    suite, version = _DEBIAN_GO
    root = cache_folder() / "debian" / suite / "root"
    go = root / f"usr/lib/go-{version}/bin/go"
    if not go.exists():
        unpack([f"golang-{version}-go", f"golang-{version}-src"], root, suite)
        # The tree of the package is two halves that links in /usr/share hold together.
        for link in (root / f"usr/lib/go-{version}").rglob("*"):
            if link.is_symlink() and os.readlink(link).startswith("/"):
                target = root / os.readlink(link).lstrip("/")
                link.unlink()
                link.symlink_to(target)
    found = _go_version(str(go))
    if found < wanted:
        raise ClusterError(
            f"Go {'.'.join(map(str, wanted))} or later builds the test cluster; put one on PATH (Debian's here is {found})"
        )
    return str(go)


def _needs(source: str) -> tuple[int, ...]:
    found = re.search(r"^go (\d+(?:\.\d+)+)", (SOURCES / source / "go.mod").read_text(), re.M)
    return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)


def _go_version(go: str) -> tuple[int, ...]:
    try:
        said = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            env={**os.environ, "GOTOOLCHAIN": "local"},
            cwd="/",
        ).stdout
    except OSError:
        return (0,)
    found = re.match(r"go(\d+(?:\.\d+)*)", said.strip())
    return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)
