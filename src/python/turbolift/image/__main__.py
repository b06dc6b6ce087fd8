# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``python -m turbolift.image``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from turbolift.errors import TurboliftError
from turbolift.image import (
    assemble,
    base,
    baselock,
    describe,
    export,
    layer,
    registry_base,
    third_party,
)

_DESCRIPTION = """\
Build deterministic OCI images for tagged functions, without Docker and without root.
Each command reads files and writes files; the same input gives the same bytes on every machine.
"""
_EPILOG = """\
From nothing to an image that Docker loads:

  base          --lock base-lock.json --out base --rootfs rootfs --debs debs
  third-party   --requirements roots.txt --lock lock.txt --complete-platform base-lock.json --out deps
  layer         --kind third-party --tree deps --prefix app/site-packages --base-rootfs rootfs --out l1
  layer         --kind first-party --tree src  --prefix app/src           --base-rootfs rootfs --out l2
  describe      --base-rootfs rootfs --third-party deps --first-party src --function shop.cart:total \\
                --out describe.json
  assemble      --base base --layer l1 --layer l2 --entrypoint-function shop.cart:total --out image
  export        --layout image --tag shop:dev --out shop.tar        (then: docker load -i shop.tar)

Where there is no apt, registry-base takes the base from a registry, by digest. base-lock refreshes the lock.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code (0, or 1 after ``error: ...`` on stderr)."""
    parser = argparse.ArgumentParser(
        prog="python -m turbolift.image",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (base, registry_base, third_party, layer, describe, assemble, export, baselock):
        module.add(commands)
    options = parser.parse_args(argv)
    try:
        options.run(options)
    except TurboliftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # A full disk, a folder without rights: the user's to mend, so no traceback either.
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
