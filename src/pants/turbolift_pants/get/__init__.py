# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules for engines that know `Get` (Pants to 2.29): thin, one module a goal; what they decide is in `steps`."""

from __future__ import annotations

from typing import Any

from turbolift_pants.get import (
    app,
    base,
    closure,
    deploy,
    find,
    generate,
    image,
    layers,
    lint,
    manifests,
    owners,
    package,
    serve,
    tailor,
    tools,
)


def rules() -> list[Any]:
    return [
        *tools.rules(),
        *find.rules(),
        *owners.rules(),
        *generate.rules(),
        *base.rules(),
        *closure.rules(),
        *layers.rules(),
        *image.rules(),
        *app.rules(),
        *manifests.rules(),
        *package.rules(),
        *serve.rules(),
        *deploy.rules(),
        *lint.rules(),
        *tailor.rules(),
    ]
