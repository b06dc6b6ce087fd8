# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The tariff, read from the resource beside this module."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

import yaml

from pricing.model import Article, Unit


class UnknownArticle(LookupError):
    """No article has this number."""


@cache
def _tariff() -> dict[str, Any]:
    text = resources.files("pricing").joinpath("tariffs.yaml").read_text("utf-8")
    tariff: dict[str, Any] = yaml.safe_load(text)
    return tariff


def article(sku: str) -> Article:
    """Return the article with the number `sku`; raises UnknownArticle."""
    row = _tariff()["articles"].get(sku)
    if row is None:
        raise UnknownArticle(sku)
    return Article(sku, row["name"], Unit(row["unit"]), Decimal(row["price"]), Decimal(row["tax"]))


def discount(quantity: int) -> Decimal:
    """Return the part of the price (0 to 1) that is taken off for a quantity."""
    steps = _tariff()["discounts"]
    reached = [Decimal(part) for least, part in steps.items() if quantity >= least]
    return max(reached, default=Decimal(0))
