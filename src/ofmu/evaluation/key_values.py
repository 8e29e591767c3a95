"""Keys and values of rows that come and go: what continuous batching does to a cache of ``transformers``.

Only caches whose layers all grow without bound (``DynamicLayer``) can be joined; of others rows can at most leave.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import DynamicLayer


def can_join(cache: Any) -> bool:
    """Whether rows can be added to this cache; None, which is no cache, can be."""
    layers = getattr(cache, "layers", None)
    return cache is None or (layers is not None and all(type(layer) is DynamicLayer for layer in layers))


def select(cache: Any, places: Tensor, width: int | None = None) -> Any:
    """Keep these rows, and of their columns the last ``width``; None if the cache cannot be cut into rows."""
    if not hasattr(cache, "batch_select_indices"):
        return None
    cache.batch_select_indices(places)
    if width is not None and can_join(cache):
        for layer in _filled(cache):
            layer.keys, layer.values = layer.keys[:, :, -width:], layer.values[:, :, -width:]
    return cache


def joined(first: Any, second: Any) -> Any:
    """Rows of both, the shorter padded on the left; the padding must be masked. Changes ``first``."""
    if first is None or second is None:
        return None
    for layer, other in zip(_filled(first), _filled(second), strict=True):
        layer.keys = stacked(layer.keys, other.keys)
        layer.values = stacked(layer.values, other.values)
    return first


def stacked(first: Tensor, second: Tensor) -> Tensor:
    """Keys or values (B, heads, T, size) of both, T the larger one."""
    length = max(first.shape[2], second.shape[2])
    return torch.cat([functional.pad(part, (0, 0, length - part.shape[2], 0)) for part in (first, second)])


def _filled(cache: Any) -> list[Any]:
    return [layer for layer in cache.layers if layer.is_initialized]
