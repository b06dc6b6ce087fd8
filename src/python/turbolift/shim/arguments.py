# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the program is told on its command line, and by the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_KINDS = {"--port": int, "--grace": float, "--probe-port": int}
_LEVELS = ("debug", "info", "warning", "error")


class Arguments:
    """``function`` (identity), ``uds`` (path, or None), ``host`` and ``port`` (otherwise), ``describe`` (path, or None: serve),
    ``grace`` (seconds), ``tls`` (folder, or ""), ``probe_port`` (or None), ``log_level``.
    """

    function: str
    uds: str | None
    host: str
    port: int
    describe: str | None
    grace: float
    tls: str
    probe_port: int | None
    log_level: str


def parse(argv: Sequence[str]) -> Arguments:
    """Return what `argv` says. Ends the process, with usage and status 2, where it is wrong, or asks for help."""
    return usual(argv) or _argparser().parse_args(argv, Arguments())


def usual(argv: Sequence[str]) -> Arguments | None:
    """Return what `argv` says where it is ``--option value`` and nothing else. None: it is argparse's to read, or to refuse,
    whose import and work take longer than those of all that serves a call.
    """
    environ = os.environ
    text = {
        "--uds": None, "--host": "0.0.0.0", "--port": "8080", "--grace": environ.get("TURBOLIFT_GRACE", "30"),
        "--tls": environ.get("TURBOLIFT_TLS", ""), "--probe-port": environ.get("TURBOLIFT_PROBE_PORT"), "--log-level": "info",
    }  # fmt: skip
    given = dict(zip(argv[::2], argv[1::2], strict=False))
    if len(argv) != 2 * len(given) or "--function" not in given or {"--uds", "--port"} <= given.keys():
        return None
    if not given.keys() <= {"--function", *text} or any(value.startswith("-") for value in given.values()):
        return None
    text |= given
    arguments = Arguments()
    arguments.describe = None
    for option, value in text.items():
        kind = _KINDS.get(option, str)
        try:
            setattr(arguments, option[2:].replace("-", "_"), None if value is None else kind(value))
        except ValueError:
            return None
    return arguments if arguments.log_level in _LEVELS else None


def _argparser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m turbolift.shim", description="Serve a tagged function over HTTP, or describe it."
    )
    parser.add_argument(
        "--function", required=True, metavar="MODULE:QUALNAME", help="the identity of the function"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--uds", metavar="PATH", help="listen on this unix socket")
    where.add_argument(
        "--port", type=int, default=8080, metavar="N", help="listen on this TCP port (8080; 0: a free one)"
    )
    parser.add_argument("--host", default="0.0.0.0", help="listen on this address (0.0.0.0)")
    parser.add_argument("--describe", metavar="FILE", help="write what the function is to FILE, and end")
    parser.add_argument(
        "--grace",
        type=float,
        default=os.environ.get("TURBOLIFT_GRACE", "30"),
        metavar="SECONDS",
        help="time that running calls get after SIGTERM ($TURBOLIFT_GRACE, else 30)",
    )
    parser.add_argument(
        "--tls",
        default=os.environ.get("TURBOLIFT_TLS", ""),
        metavar="DIR",
        help="serve HTTPS with tls.crt and tls.key of this folder, to callers with a certificate that its ca.crt "
        "signed; replaced files are read again ($TURBOLIFT_TLS)",
    )
    parser.add_argument(
        "--probe-port",
        type=int,
        default=os.environ.get("TURBOLIFT_PROBE_PORT"),
        metavar="N",
        help="answer /healthz, /readyz and /metrics, and nothing else, by plain HTTP on this port "
        "($TURBOLIFT_PROBE_PORT)",
    )
    parser.add_argument("--log-level", default="info", choices=_LEVELS)
    return parser
