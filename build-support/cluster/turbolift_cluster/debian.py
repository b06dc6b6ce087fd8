# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Debian packages, unpacked into a folder of ours: nothing is installed, the machine's own apt is not touched, root is not needed."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from .errors import ClusterError
from .files import run, say, system_path, write
from .settings import SUITE, cache_folder

# containerd and runc run the pods, docker-registry serves the images; iptables and its libraries are for kube-proxy.
PACKAGES = [
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "docker-registry",
    "iptables",
    "libip4tc2",
    "libip6tc2",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftnl11",
    "libseccomp2",
    "libxtables12",
    "runc",
]
_CONFIGURATION = """\
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::State::lists "{root}/lists";
Dir::Cache "{root}/cache";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Get::List-Cleanup "false";
"""


def programs() -> Path:
    """Return the root folder of the unpacked packages; downloads them when that was not done before."""
    root = cache_folder() / "debian" / SUITE
    if (root / "unpacked").exists():
        return root / "root"
    unpack(PACKAGES, root / "root", SUITE)
    for name in (
        "iptables",
        "iptables-save",
        "iptables-restore",
        "ip6tables",
        "ip6tables-save",
        "ip6tables-restore",
    ):
        link = root / "root/usr/sbin" / name  # in a package these are links through /etc/alternatives
        link.unlink(missing_ok=True)
        link.symlink_to("xtables-nft-multi")
    write(root / "unpacked", "\n".join(PACKAGES) + "\n")
    return root / "root"


def libraries(root: Path) -> str:
    """Return the search path of the shared libraries in the unpacked packages."""
    folders = {path.parent for pattern in ("lib", "usr/lib") for path in (root / pattern).glob("*/*.so*")}
    return ":".join(str(folder) for folder in sorted(folders))


def unpack(packages: list[str], into: Path, suite: str) -> None:
    """Download packages of a suite and unpack them into a folder, replacing it. Raises ClusterError where apt or a package is missing."""
    missing = [name for name in ("apt-get", "dpkg") if shutil.which(name, path=system_path()) is None]
    if missing:
        raise ClusterError(
            f"{' and '.join(missing)}: not on this machine. The test cluster takes containerd, runc and more from Debian's packages: "
            "run it on Debian, or point the tests at a cluster of your own by KUBECONFIG"
        )
    env = _private_apt(suite)
    say(f"downloading {len(packages)} packages of Debian {suite}")
    debs = cache_folder() / "debian" / suite / "debs"
    shutil.rmtree(debs, ignore_errors=True)
    debs.mkdir(parents=True)
    run("apt-get", "-q", "download", *packages, env=env, cwd=debs)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for deb in sorted(debs.glob("*.deb")):
        run("dpkg", "-x", deb, into)
    shutil.rmtree(debs)
    shutil.rmtree(into / "usr/share/doc", ignore_errors=True)


def _private_apt(suite: str) -> dict[str, str]:
    """Return the environment of an apt with lists and status of its own, and download its lists."""
    root = cache_folder() / "debian" / suite / "apt"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial", "state"):
        (root / folder).mkdir(parents=True)
    write(root / "state/status", "")
    write(root / "sources.list", f"deb {_mirror()} {suite} main\n")
    text = _CONFIGURATION.format(root=root)
    if os.geteuid() == 0:
        text += 'APT::Sandbox::User "root";\n'  # apt's own user cannot reach below a home folder
    write(root / "apt.conf", text)
    env = {**os.environ, "APT_CONFIG": str(root / "apt.conf"), "PATH": system_path(), "LC_ALL": "C.UTF-8"}
    run("apt-get", "-q", "update", env=env)
    return env


def _mirror() -> str:
    """Return the Debian mirror that this machine's own apt is configured with."""
    folder = Path("/etc/apt")
    for file in [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]:
        try:
            found = re.search(r"https?://\S+/debian/?(?=\s|$)", file.read_text())
        except OSError:
            continue
        if found:
            return found.group(0)
    raise ClusterError(
        "no address of a Debian mirror in /etc/apt: the test cluster takes containerd, runc and more from Debian's packages"
    )
