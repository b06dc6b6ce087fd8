# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ``base-lock`` command: write the base lock anew from this machine's apt configuration.

Packages are taken from the release's main suite, not from its updates and security suites: a mirror drops a
security package when the next one replaces it, and then a lock cannot be built any more; the main suite only
moves with a point release. With ``--security`` the newest of all suites are taken: keep the packages then
(``base --debs``).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.errors import DocumentError, PackagingError
from turbolift.image import layout, recipe
from turbolift.image.archive import Fetcher, Source, apt_sources, log
from turbolift.image.base import build
from turbolift.image.blob import FIXED_TIME
from turbolift.image.platform import complete_platform
from turbolift.image.rootfs import write_rootfs

# Debian's own keys; without the file apt takes the keys that the machine trusts for everything.
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FIELD = re.compile(r"^([A-Za-z0-9-]+): (.*)$", re.MULTILINE)


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "base-lock",
        help="write the base lock anew (the only command that changes it)",
        description="Ask this machine's apt, in a state of its own, for the newest versions of the base's "
        "packages, build the base, and write the lock: packages with their hashes, the digest that they "
        "give, and the platform that wheels are resolved for. Prints what changed. Nothing of the "
        "machine's own apt state is touched; no root is needed.",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="the lock to write; compared with what it holds now"
    )
    parser.add_argument("--debs", type=Path, help="folder of .deb files; downloads are kept here too")
    parser.add_argument(
        "--security",
        action="store_true",
        help="take the updates and security suites too (newer, but mirrors drop those packages once "
        "replaced)",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the lock would change")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    try:
        before: dict[str, Any] = spec.load("base-lock", options.out)
    except DocumentError:
        before = {}
    with tempfile.TemporaryDirectory(prefix="turbolift-lock-") as folder:
        work = Path(folder)
        packages = select(recipe.PACKAGES, work / "apt", security=options.security)
        lock: dict[str, Any] = {
            "version": 1,
            "suite": recipe.SUITE,
            "architecture": recipe.ARCHITECTURE,
            "epoch": FIXED_TIME,
            "python": recipe.PYTHON,
            "packages": packages,
        }
        image = build(lock, Fetcher(options.debs or work / "debs"), work / "base")
        write_rootfs(layout.Layout(work / "base"), work / "rootfs", python=recipe.PYTHON)
        lock["digest"] = image.digest
        lock["complete_platform"] = complete_platform(work / "rootfs", python=recipe.PYTHON)
        # The long lists last, for whoever reads the file.
        lock = {
            key: lock[key] for key in sorted(lock, key=lambda key: (isinstance(lock[key], (list, dict)), key))
        }
    spec.validate("base-lock", lock, source="the new lock")
    changes = describe_changes(before, lock)
    for line in changes or ["no change"]:
        print(line)
    if options.check:
        if changes:
            raise PackagingError(f"{options.out}: is not what apt would give now: refresh it")
        return
    text = json.dumps(lock, indent=2, ensure_ascii=False) + "\n"
    part = options.out.with_name(f".{options.out.name}-{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(options.out)


def select(names: tuple[str, ...], state: Path, *, security: bool) -> list[dict[str, Any]]:
    """Return the lock items of the newest versions of `names`; apt checks the signatures of what it reads.

    `state` is a new folder for apt's own files.
    """
    wanted = [recipe.SUITE] + [f"{recipe.SUITE}-updates", f"{recipe.SUITE}-security"] * security
    sources = [one for one in apt_sources() if one.release in wanted and one.component == "main"]
    if not any(one.release == recipe.SUITE for one in sources):
        raise PackagingError(
            f"this machine's apt has no source for Debian's {recipe.SUITE} (main): add one to its sources, "
            f"or refresh the lock on a machine that has it (a {recipe.SUITE} container is enough)"
        )
    config = _private_apt(state, sources)
    log(f"apt: reading {', '.join(sorted({one.release for one in sources}))}")
    _apt(config, "apt-get", "-q", "update")
    items = []
    for name in sorted(names):
        shown = _apt(config, "apt-cache", "show", "--no-all-versions", name).split("\n\n", 1)[0]
        fields = dict(_FIELD.findall(shown))
        items.append(
            {
                "name": fields["Package"],
                "version": fields["Version"],
                "architecture": fields["Architecture"],
                "path": fields["Filename"],
                "sha256": fields["SHA256"],
                "size": int(fields["Size"]),
            }
        )
    return items


def describe_changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return a line for each difference between two locks."""
    old = {one["name"]: one for one in before.get("packages", [])}
    new = {one["name"]: one for one in after["packages"]}
    lines = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            lines.append(f"- {name} {old[name]['version']}")
        elif name not in old:
            lines.append(f"+ {name} {new[name]['version']}")
        elif old[name] != new[name]:
            lines.append(f"  {name} {old[name]['version']} -> {new[name]['version']}")
    for key in ("suite", "architecture", "epoch", "python", "digest"):
        if before.get(key) != after[key]:
            lines.append(f"  {key}: {before.get(key, 'none')} -> {after[key]}")
    if before.get("complete_platform") != after["complete_platform"]:
        lines.append("  complete_platform: changed")
    return lines


def _private_apt(state: Path, sources: list[Source]) -> Path:
    for name in ("lists/partial", "cache/archives/partial", "log"):
        (state / name).mkdir(parents=True)
    lines = []
    signed = f" signed-by={_KEYS}" if _KEYS.is_file() else ""
    for source in sources:
        lines.append(
            f"deb [arch={recipe.ARCHITECTURE}{signed}] {source.uri} {source.release} {source.component}\n"
        )
    (state / "sources.list").write_text("".join(lines), encoding="utf-8")
    (state / "status").touch()
    config = state / "apt.conf"
    config.write_text(
        f'Dir::State "{state}";\nDir::State::lists "{state}/lists";\nDir::State::status "{state}/status";\n'
        f'Dir::Cache "{state}/cache";\nDir::Log "{state}/log";\n'
        f'Dir::Etc::sourcelist "{state}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
        f'Dir::Etc::preferences "/dev/null";\nDir::Etc::preferencesparts "/dev/null";\n'
        f'APT::Architecture "{recipe.ARCHITECTURE}";\nAPT::Architectures {{ "{recipe.ARCHITECTURE}"; }};\n'
        'Acquire::Languages "none";\nAPT::Sandbox::User "";\n',
        encoding="utf-8",
    )
    return config


def _apt(config: Path, *command: str) -> str:
    env = {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackagingError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
