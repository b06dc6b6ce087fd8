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
from dataclasses import dataclass, field
from pathlib import Path

from . import golang
from .errors import ClusterError
from .files import say, write
from .settings import cache_folder

SOURCES = Path(__file__).resolve().parent.parent
KUBE_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
_PASSED = ("GOMAXPROCS", "GONOSUMDB", "GOPRIVATE", "GOPROXY", "GOSUMDB")


@dataclass(frozen=True)
class _Module:
    """One of our Go modules, in a folder beside this package; `pinned` is the module whose version its programs have."""

    folder: str
    pinned: str
    packages: dict[str, str] = field(hash=False)

    @property
    def version(self) -> str:
        """The version that the go.mod pins, such as `v1.34.4`."""
        found = re.search(rf"^\s*(?:require )?{re.escape(self.pinned)} (v\S+)", self._go_mod, re.M)
        if not found:
            raise ClusterError(f"{SOURCES / self.folder / 'go.mod'} does not pin {self.pinned}")
        return found.group(1)

    @property
    def go(self) -> tuple[int, ...]:
        """The oldest Go that builds it."""
        found = re.search(r"^go (\d+(?:\.\d+)+)", self._go_mod, re.M)
        return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)

    @property
    def built(self) -> Path:
        """The folder of its programs; the file `built` in there says that they are whole."""
        digest = hashlib.sha256()
        for file in sorted((SOURCES / self.folder).rglob("*")):
            if file.suffix in (".go", ".mod", ".sum"):
                digest.update(f"{file.relative_to(SOURCES)}\0".encode() + file.read_bytes())
        return cache_folder() / "bin" / f"{self.folder}-{self.version}-{digest.hexdigest()[:12]}"

    @property
    def _go_mod(self) -> str:
        return (SOURCES / self.folder / "go.mod").read_text()


_KUBERNETES = _Module("kubernetes", "k8s.io/kubernetes", {"kube-all": ".", "pause": "./pause"})
_COREDNS = _Module("coredns", "github.com/coredns/coredns", {"coredns": "."})
_METRICS = _Module("metrics-server", "sigs.k8s.io/metrics-server", {"metrics-server": "."})


@dataclass(frozen=True)
class Programs:
    """Where the built programs are, and which Kubernetes they are. `metrics` is None where no Go is new enough for it."""

    folder: Path
    kubernetes: str
    coredns: Path
    metrics: Path | None

    def path(self, name: str) -> Path:
        """Return the path of a program of Kubernetes, of etcd or of pause."""
        return self.folder / name


def programs() -> Programs:
    """Return the programs; builds those whose source was not built before, which takes minutes of all cores."""
    kubernetes, coredns, metrics = _KUBERNETES.built, _COREDNS.built, _METRICS.built
    before = all((folder / "built").exists() for folder in (kubernetes, coredns, metrics))
    version = _KUBERNETES.version
    major, minor, _ = version[1:].split(".", 2)
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    _build(_KUBERNETES, " ".join(f"-X k8s.io/component-base/version.{key}={stamps[key]}" for key in stamps))
    for name in KUBE_PROGRAMS:
        if not (kubernetes / name).is_symlink():
            (kubernetes / name).symlink_to("kube-all")
    _build(_COREDNS)
    found: Path | None = metrics / "metrics-server"
    try:
        _build(_METRICS)
    except golang.NoGoError as error:
        say(f"no metrics-server, so a HorizontalPodAutoscaler has no figures: {error}")
        found = None
    if not before and found and not os.environ.get("TURBOLIFT_CLUSTER_KEEP_GO"):
        for name in ("build", "mod"):  # about 5 GB, which no later `up` needs
            shutil.rmtree(cache_folder() / "go" / name, ignore_errors=True)
    return Programs(kubernetes, version, coredns / "coredns", found)


def kubectl() -> Path:
    """Return kubectl, which must have been built."""
    return _KUBERNETES.built / "kubectl"


def _build(module: _Module, linker_flags: str = "") -> None:
    """Build a module's programs, once. Two builds at a time wait for each other."""
    folder, root = module.built, cache_folder() / "go"
    if (folder / "built").exists():
        return
    go = golang.find(module.go)
    root.mkdir(parents=True, exist_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO"))}
    env |= {name: os.environ[name] for name in _PASSED if name in os.environ}
    env |= {"GOPATH": str(root), "GOMODCACHE": str(root / "mod"), "GOCACHE": str(root / "build")}
    env |= {"GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    env["CGO_ENABLED"] = "0"
    log = root / f"{module.folder}.log"
    with open(root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "built").exists():
            return
        begin = time.monotonic()
        say(f"building {module.folder} {module.version} from Go modules: minutes, once; log: {log}")
        for name, package in module.packages.items():
            flags = ["-trimpath", "-ldflags", f"-s -w {linker_flags}".strip(), "-o", str(folder / name)]
            with open(log, "ab") as output:
                done = subprocess.run(
                    ["nice", "-n", "10", go, "build", *flags, package],
                    cwd=SOURCES / module.folder,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            if done.returncode:
                tail = log.read_text(errors="replace")[-3000:]
                raise ClusterError(f"`go build {package}` in {SOURCES / module.folder} failed:\n{tail}")
        write(folder / "built", f"{time.monotonic() - begin:.0f} s\n")
        say(f"built {module.folder} in {time.monotonic() - begin:.0f} s")
