# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: fixtures ``distributed`` and ``faults``.

Where the wheel is installed, pytest finds it by its entry point; elsewhere, write in a ``conftest.py`` at the top
``pytest_plugins = ["turbolift.testing.plugin"]``. It works the same with plain pytest, pytest-asyncio and anyio's
plugin. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from turbolift.testing import Distributed, Faults

MARKER = "distributed"


def pytest_configure(config: pytest.Config) -> None:
    """Say which marker there is."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(only=[function, ...]): which tagged functions the fixture 'distributed' distributes (turbolift); "
        "without it, all",
    )


@pytest.fixture
def distributed(request: pytest.FixtureRequest) -> Iterator[Distributed]:
    """Tagged functions run through the real wire, in this process: what cannot travel fails here.

    Also records calls (``distributed.calls_of(f)``) and makes faults (``distributed.faults``).
    """
    # A test session that never asks for it pays next to nothing for the plugin.
    from turbolift.testing.harness import Distributed

    with Distributed(*_chosen(request.node)) as run:
        yield run


def _chosen(node: pytest.Item) -> list[Any]:
    """Return what the nearest marker names."""
    mark = node.get_closest_marker(MARKER)
    if mark is None:
        return []
    # pytest takes a marker with one function, and nothing else, for the decoration of that function.
    if mark.args or mark.kwargs.keys() != {"only"} or not isinstance(mark.kwargs["only"], (list, tuple)):
        raise pytest.UsageError(f"{node.nodeid}: write @pytest.mark.{MARKER}(only=[function, ...])")
    return list(mark.kwargs["only"])


@pytest.fixture
def faults(distributed: Distributed) -> Faults:
    """Faults of the wire: ``faults.lose_answer(f)``, ``faults.delay(f, seconds=1)`` ..."""
    return distributed.faults
