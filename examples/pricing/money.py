# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Amounts: rounding to cents, and how a customer reads them."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from babel.numbers import format_currency

CENT = Decimal("0.01")


def cents(amount: Decimal) -> Decimal:
    """Return `amount` rounded to cents, halves to even."""
    return amount.quantize(CENT, ROUND_HALF_EVEN)


def readable(amount: Decimal, locale: str = "de_DE") -> str:
    """Return an amount of euros as it is written in `locale`."""
    return format_currency(amount, "EUR", locale=locale)
