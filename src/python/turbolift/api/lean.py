# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What this room has of ``typing`` while a program runs.

To import ``typing`` takes several times as long as all that ``import turbolift`` does besides; so annotations are for
checkers alone here, and what stands in for the rest does nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic as Generic
    from typing import ParamSpec, TypeVar
    from typing import cast as cast
    from typing import final as final
    from typing import overload as overload

    P = ParamSpec("P")
    R = TypeVar("R")
else:
    from types import GenericAlias

    P, R = "P", "R"

    class Generic:
        """Classes below it can be subscripted."""

        __class_getitem__ = classmethod(GenericAlias)

    def cast(kind, value):
        """Return `value`."""
        return value

    def final(cls):
        """Return `cls`."""
        return cls

    def overload(fn):
        """Return `fn`: the implementation that follows takes its place."""
        return fn
