# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of functions, as people type them, and as files are called."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Collection

from turbolift.errors import DeployError


def slug(function: str) -> str:
    """Return a file name for a function: readable, and unique by a hash of the identity."""
    text = re.sub(r"[^a-z0-9]+", "-", function.lower()).strip("-")
    return f"{text[:48].strip('-')}-{hashlib.sha256(function.encode()).hexdigest()[:8]}"


def resolve(given: str, known: Collection[str]) -> str:
    """Return the identity in `known` that `given` means: the whole one, or any part of it that only one has.

    A whole qualified name (``quote``, ``Cart.total``) goes before the end of one, and that before any other
    part. Raises DeployError that lists what there is.
    """
    if given in known:
        return given
    for fits in (
        lambda name: name.partition(":")[2] == given,
        lambda name: name.endswith((f".{given}", f":{given}")),
        lambda name: given in name,
    ):
        found = sorted(name for name in known if fits(name))
        if len(found) == 1:
            return found[0]
        if found:
            raise DeployError(
                f"{given!r} is short for {len(found)} functions: {', '.join(found)}; say more of one"
            )
    if not known:
        raise DeployError(f"{given}: no function is deployed; deploy with './pants run deploy'")
    close = difflib.get_close_matches(given, [*known, *(name.partition(":")[2] for name in known)], n=2)
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    raise DeployError(f"{given}: no such function is deployed.{meant} There is: {', '.join(sorted(known))}")
