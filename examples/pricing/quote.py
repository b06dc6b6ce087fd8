# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Price a quantity of an article: dataclasses, decimals, a resource file and two libraries behind one function."""

from __future__ import annotations

from pricing import money, tariffs
from pricing.model import Quote
from turbolift import K8s, on

CLUSTER = K8s(max_scale_n=10)


@on(CLUSTER, cpu="500m", memory="256Mi", timeout=5.0, idempotent=True)
def quote(sku: str, quantity: int) -> Quote:
    """Return the price of `quantity` units of `sku`; raises UnknownArticle, and ValueError for less than one unit."""
    if quantity < 1:
        raise ValueError(f"quantity is {quantity}: at least 1 is needed")
    article = tariffs.article(sku)
    net = money.cents(article.price * quantity)
    discount = money.cents(net * tariffs.discount(quantity))
    tax = money.cents((net - discount) * article.tax)
    total = net - discount + tax
    text = f"{quantity} x {article.name}: {money.readable(total)}"
    return Quote(sku, quantity, article.unit, net, discount, tax, total, text)
