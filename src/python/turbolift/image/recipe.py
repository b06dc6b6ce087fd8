# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What goes into the base image: packages, which of their files, and the few files that no package brings.

Changing anything here changes the base's digest: refresh the lock afterwards.
"""

from __future__ import annotations

import fnmatch
import re

from turbolift.image.tar import Entry

SUITE = "bookworm"
ARCHITECTURE = "amd64"
PYTHON = "/usr/bin/python3.11"
USER = 65532

# Python, what its standard library links to, certificates, time zones, names of services and media types.
# libgcc and libstdc++ are here because most wheels with C++ in them expect the system's.
PACKAGES = (
    "base-files",
    "ca-certificates",
    "libbz2-1.0",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libsqlite3-0",
    "libssl3",
    "libstdc++6",
    "libuuid1",
    "media-types",
    "netbase",
    "python3.11-minimal",
    "tzdata",
    "zlib1g",
)

# Manuals, translations, what only an administrator or a build needs, and extension modules whose libraries
# are not in the base. Copyright files stay: the licences ask for it.
_DROPPED = (
    "etc/default/*",
    "etc/python3.11/*",
    "etc/update-motd.d/*",
    "usr/bin/pdb3.11",
    "usr/bin/pydoc3.11",
    "usr/bin/pygettext3.11",
    "usr/bin/py*versions",
    "usr/lib/python3.11/__phello__*",
    "usr/lib/python3.11/distutils/command/*",
    "usr/lib/python3.11/idlelib/*",
    "usr/lib/python3.11/lib-dynload/_curses*",
    "usr/lib/python3.11/lib-dynload/_dbm.*",
    "usr/lib/python3.11/lib-dynload/nis.*",
    "usr/lib/python3.11/lib-dynload/readline.*",
    "usr/lib/python3.11/lib2to3/*",
    "usr/lib/python3.11/pydoc_data/*",
    "usr/lib/python3.11/sitecustomize.py",
    "usr/lib/python3.11/turtledemo/*",
    "usr/lib/x86_64-linux-gnu/gconv/*",
    "usr/sbin/*",
    "usr/share/applications/*",
    "usr/share/base-files/*",
    "usr/share/binfmts/*",
    "usr/share/bug/*",
    "usr/share/doc-base/*",
    "usr/share/info/*",
    "usr/share/libc-bin/*",
    "usr/share/lintian/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "usr/share/pixmaps/*",
    "usr/share/python3/runtime.d/*",
    "usr/share/zoneinfo/posix/*",
    "usr/share/zoneinfo/right/*",
    "var/cache/*",
    "var/lib/dpkg/*",
)
_DROP = re.compile("|".join(fnmatch.translate(one) for one in _DROPPED))
_DOC = re.compile(r"usr/share/doc/.*(?<!/copyright)\Z")

CERTIFICATES = "usr/share/ca-certificates/"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"

ENVIRONMENT = ("PATH=/usr/bin", "LANG=C.UTF-8", f"SSL_CERT_FILE=/{BUNDLE}", "PYTHONUNBUFFERED=1")


def keep(path: str) -> bool:
    """Say whether the file `path` (relative, ``/usr`` merged) of a package goes into the image."""
    return not _DROP.match(path) and not _DOC.match(path)


def own_entries() -> list[Entry]:
    """Return the entries that no package brings."""

    def text(path: str, *lines: str) -> Entry:
        return Entry(path, data="".join(line + "\n" for line in lines).encode())

    return [
        *(Entry(name, "symlink", 0o777, link=f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")),
        Entry("usr/sbin", "dir", 0o755),
        Entry("usr/bin/python3", "symlink", 0o777, link="python3.11"),
        Entry("usr/bin/python", "symlink", 0o777, link="python3.11"),
        Entry("usr/lib/ssl/cert.pem", "symlink", 0o777, link=f"/{BUNDLE}"),
        Entry("etc/localtime", "symlink", 0o777, link="/usr/share/zoneinfo/Etc/UTC"),
        text(
            "etc/passwd",
            "root:x:0:0:root:/root:/sbin/nologin",
            "nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin",
            f"nonroot:x:{USER}:{USER}:nonroot:/home/nonroot:/sbin/nologin",
        ),
        text("etc/group", "root:x:0:", "tty:x:5:", "nobody:x:65534:", f"nonroot:x:{USER}:"),
        text(
            "etc/nsswitch.conf",
            "passwd: files",
            "group: files",
            "hosts: files dns",
            "services: files",
            "protocols: files",
        ),
        Entry("tmp", "dir", 0o1777),
        Entry("var/tmp", "dir", 0o1777),
        Entry("home/nonroot", "dir", 0o700, uid=USER, gid=USER),
        *(Entry(name, "dir", 0o755) for name in ("dev", "proc", "root", "run", "sys")),
    ]
