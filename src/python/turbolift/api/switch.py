# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The switch: the environment variable ``TURBOLIFT`` says whether calls leave the process."""

from __future__ import annotations

import os

from turbolift.api.lean import TYPE_CHECKING, cast
from turbolift.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

VARIABLE: Final = "TURBOLIFT"

# os.environ encodes its key and decodes its value on each look-up, which costs more than the rest of a call
# in process. Below it is a dict that os.environ, os.putenv's callers and pytest's monkeypatch all write to;
# other interpreters may have none.
_raw: Mapping[Any, Any] | None = cast("Mapping[Any, Any] | None", getattr(os.environ, "_data", None))
_KEY: Any = VARIABLE
if isinstance(_raw, dict) and hasattr(os.environ, "encodekey"):
    _KEY = os.environ.encodekey(VARIABLE)
else:  # pragma: no cover - CPython has it
    _raw = os.environ
_OFF: Any = b"off" if isinstance(_KEY, bytes) else "off"
_ON: Any = b"on" if isinstance(_KEY, bytes) else "on"


def is_distributed() -> bool:
    """Return whether calls of tagged functions leave this process now (``TURBOLIFT=on``).

    The variable is read at each call, so that a test can change it. Raises ConfigurationError for any other
    value than ``on``, ``off`` or none.
    """
    value = _raw.get(_KEY)  # type: ignore[union-attr]
    if value is None or value == _OFF:
        return False
    if value == _ON:
        return True
    raise ConfigurationError(f"{VARIABLE}={os.environ[VARIABLE]!r}: it must be 'on' or 'off' (the default)")
