# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Build the two wheels: `./pants run build-support:wheels -- [--out DIR]`.

`turbolift-runtime` (imported as `turbolift`) and `turbolift-pants` (the plugin), both of the version in src/VERSION.
The same sources give the same bytes, wherever the clone is and whatever the umask and the clock say.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

PROJECTS = ("src/python", "src/pants")


def build(project: Path, out: Path) -> Path:
    """Build the wheel of the folder `project`, which has a pyproject.toml, into the folder `out`; return its path."""
    artifacts = list(WheelBuilder(str(project)).build(directory=str(out), versions=["standard"]))
    return Path(artifacts[0])


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="./pants run build-support:wheels --", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("dist/wheels"), metavar="DIR", help="default: %(default)s"
    )
    options = parser.parse_args()
    # hatchling would write this time into the wheels; without it, it takes one of its own, the same for all.
    os.environ.pop("SOURCE_DATE_EPOCH", None)
    root = Path.cwd()
    out = root / options.out
    out.mkdir(parents=True, exist_ok=True)
    for project in PROJECTS:
        wheel = build(root / project, out)
        print(f"{wheel.name} sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
