# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Look at photographs with a heavy third-party stack, which only the functions import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from turbolift import K8s, on

CLUSTER = K8s(max_scale_n=4)

# Photographs that scikit-image ships inside its wheel.
Photo = Literal["astronaut", "chelsea", "coffee", "rocket"]


@dataclass(frozen=True)
class Report:
    """What is in a photograph; colour as red, green, blue from 0 to 255, edges as a share of all pixels."""

    photo: Photo
    width: int
    height: int
    colour: tuple[float, float, float]
    edges: float
    regions: int


@on(CLUSTER, cpu="1", memory="1Gi", timeout=60.0, idempotent=True, workers="threads", concurrency=2)
def inspect(photo: Photo) -> Report:
    """Return size, mean colour, share of edges and number of bright regions of a photograph."""
    from skimage import color, data, filters, measure

    image = getattr(data, photo)()
    grey = color.rgb2gray(image)
    edges = filters.sobel(grey)
    regions = measure.label(grey > filters.threshold_otsu(grey))
    red, green, blue = (round(float(value), 2) for value in image.reshape(-1, 3).mean(axis=0))
    height, width = grey.shape
    return Report(
        photo,
        width,
        height,
        (red, green, blue),
        round(float((edges > 0.1).mean()), 4),
        int(regions.max()),
    )


@on(CLUSTER, cpu="1", memory="1Gi", timeout=60.0, idempotent=True, concurrency=2)
def thumbnail(photo: Photo, width: int = 64) -> bytes:
    """Return the photograph `width` pixels wide, as PNG."""
    import io

    from PIL import Image
    from skimage import data

    image = Image.fromarray(getattr(data, photo)())
    height = max(1, round(image.height * width / image.width))
    out = io.BytesIO()
    image.resize((width, height), Image.Resampling.LANCZOS).save(out, "PNG")
    return out.getvalue()
