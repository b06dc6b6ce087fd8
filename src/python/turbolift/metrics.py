# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics of the calls that this process makes: ``turbolift.metrics.install()``.

They are counted in any case, in plain numbers. A deployed function needs no installing: its server's ``/metrics`` has
them beside its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbolift.errors import ConfigurationError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["install"]

_installed: list[Any] = []


def install(registry: CollectorRegistry | None = None) -> None:
    """Have prometheus_client export turbolift's metrics from `registry` (its default one); twice does no harm.

    Raises ConfigurationError where prometheus_client is not installed.
    """
    try:
        from prometheus_client import REGISTRY
    except ImportError:
        raise ConfigurationError(
            "turbolift.metrics.install() needs the package prometheus-client, which is not installed"
        ) from None
    from turbolift.client import existing_caller
    from turbolift.client.metrics import Collector

    where = REGISTRY if registry is None else registry
    if not any(where is one for one in _installed):
        where.register(Collector(existing_caller))
        _installed.append(where)
