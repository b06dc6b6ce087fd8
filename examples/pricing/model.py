# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What goes in and out of the pricing functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum


class Unit(Enum):
    """What a price is for."""

    PIECE = "piece"
    KILOGRAM = "kilogram"


@dataclass(frozen=True)
class Article:
    """One row of the tariff."""

    sku: str
    name: str
    unit: Unit
    price: Decimal
    tax: Decimal


@dataclass(frozen=True)
class Quote:
    """A price for a quantity of one article; amounts in euros."""

    sku: str
    quantity: int
    unit: Unit
    net: Decimal
    discount: Decimal
    tax: Decimal
    total: Decimal
    text: str


@dataclass
class Forecast:
    """Expected demand: one value a period, and how well the trend explains the past (0 to 1)."""

    periods: list[float] = field(default_factory=list)
    fit: float = 0.0
