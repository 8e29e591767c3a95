"""An image of the data as a small PNG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIDE = 64
"""Pixels of the longer side; small images are enlarged without smoothing."""


def png(pixels: np.ndarray) -> bytes:
    """PNG bytes of one image.

    Args:
        pixels: [H, W, C], uint8, or floats of any range (then stretched to what can be seen).
    """
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    kind = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
    buffer = io.BytesIO()
    image.resize(size, kind).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
