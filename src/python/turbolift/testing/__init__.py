# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""For users' tests: tagged functions run through the real wire, in one process, with a recorder and faults on demand.

With the pytest plugin (``turbolift.testing.plugin``, found by itself where the wheel is installed) a test asks for the
fixture ``distributed``; elsewhere, ``with distribute() as run:`` does the same. What cannot travel fails there as it
would in production: arguments and results are copied by the codec, errors are described and rebuilt, deadlines, slots
and queues hold. No socket is opened.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turbolift.testing.faults import Fault, Faults
    from turbolift.testing.harness import Distributed, distribute
    from turbolift.testing.recorder import Attempt, Call

__all__ = ["Attempt", "Call", "Distributed", "Fault", "Faults", "distribute"]

_HOMES = {
    "Attempt": "recorder",
    "Call": "recorder",
    "Distributed": "harness",
    "Fault": "faults",
    "Faults": "faults",
    "distribute": "harness",
}


def __getattr__(name: str) -> Any:
    # The plugin is imported by every pytest where the wheel is installed: what it needs waits until it is asked for.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
