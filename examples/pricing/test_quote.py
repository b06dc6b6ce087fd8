# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The same tests in process and through the wire, and what the tag's promise of idempotence is worth."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pricing.demand import forecast
from pricing.model import Quote, Unit
from pricing.quote import quote
from pricing.tariffs import UnknownArticle
from turbolift import EncodeError
from turbolift.testing import Distributed, Faults

pytest_plugins = ("turbolift.testing.plugin",)


@pytest.fixture(params=["in process", "distributed"], autouse=True)
def both_ways(request: pytest.FixtureRequest) -> None:
    """Run each test of this module twice, where it does not ask for one way."""
    if request.param == "distributed":
        request.getfixturevalue("distributed")
    elif "distributed" in request.fixturenames or "faults" in request.fixturenames:
        pytest.skip("about calls that leave the process")


def test_a_quote() -> None:
    found = quote.call("A-1", 100)
    assert isinstance(found, Quote)
    assert found.unit is Unit.PIECE
    assert found.total == found.net - found.discount + found.tax
    assert found.total > Decimal(0)


def test_an_unknown_article() -> None:
    with pytest.raises(UnknownArticle, match="Z-9"):
        quote.call("Z-9", 1)


def test_a_forecast() -> None:
    assert forecast.call([1.0, 2.0, 3.0], periods=2).periods == [4.0, 5.0]


def test_what_cannot_travel(distributed: Distributed) -> None:
    with pytest.raises(EncodeError):
        quote.call("A-1", "3")  # type: ignore[arg-type]


def test_a_quote_survives_a_lost_answer(distributed: Distributed, faults: Faults) -> None:
    faults.lose_answer(quote)
    assert quote.call("A-1", 3) == quote.local("A-1", 3)
    (call,) = distributed.calls_of(quote)
    assert [attempt.outcome for attempt in call.attempts] == ["broken", "ok"]
