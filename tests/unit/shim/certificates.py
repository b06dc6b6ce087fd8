# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Real certificates of any age, in folders as Kubernetes mounts a Secret."""

from __future__ import annotations

import datetime
import itertools
import os
from pathlib import Path

from turbolift.deploy.k8s.certificates import (
    LIFETIME,
    Authority,
    Pair,
    issue_caller,
    issue_server,
    new_authority,
)

NAME = "shop-double.pricing.svc"
DAY = datetime.timedelta(days=1)
_numbers = itertools.count()


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Signer:
    """An authority. `age`: as if it signed that long ago; negative: in the future."""

    def __init__(self) -> None:
        self.authority: Authority = new_authority("test", now() - 2 * LIFETIME)

    def server(self, *names: str, age: datetime.timedelta = DAY) -> Pair:
        return issue_server(self.authority, names or (NAME,), now() - age)

    def caller(self, age: datetime.timedelta = DAY) -> Pair:
        return issue_caller(self.authority, now() - age)


EXPIRED = LIFETIME + DAY
EARLY = -DAY


def write(folder: Path, pair: Pair | None, trusted: bytes | None) -> Path:
    """Put the files into `folder`, all at once: by a symbolic link that is swapped, as a kubelet does."""
    folder.mkdir(exist_ok=True)
    version = folder / f"..{next(_numbers)}"
    version.mkdir()
    files = {} if pair is None else {"tls.crt": pair.certificate, "tls.key": pair.key}
    if trusted is not None:
        files["ca.crt"] = trusted
    for name, data in files.items():
        (version / name).write_bytes(data)
    link = folder / "..new"
    link.symlink_to(version.name)
    os.replace(link, folder / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        path = folder / name
        if name in files and not path.is_symlink():
            path.symlink_to(f"..data/{name}")
        elif name not in files:
            path.unlink(missing_ok=True)
    return folder
