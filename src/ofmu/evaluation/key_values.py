"""Keys and values of rows that come and go: what continuous batching does to a cache of ``transformers``.

Only caches whose layers all grow without bound (``DynamicLayer``) can be joined and get room ahead; of others rows can
at most leave.
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
    return cache is None or (layers is not None and all(type(layer) in (DynamicLayer, _Roomy) for layer in layers))


def with_room(cache: Any, tokens: int) -> Any:
    """The cache, able to take so many tokens more without a copy of those it has. Changes ``cache``."""
    if cache is not None and can_join(cache):
        cache.layers = [_Roomy(layer, tokens) if layer.is_initialized else layer for layer in cache.layers]
    return cache


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


class _Roomy(DynamicLayer):
    """Keys and values at the front of larger arrays: a token more costs its own copy, not one of all before it.

    Args:
        layer: what is there.
        room: tokens that may come; more are taken, at the usual cost.
    """

    def __init__(self, layer: DynamicLayer, room: int) -> None:
        super().__init__()
        assert layer.keys is not None
        assert layer.values is not None
        self.lazy_initialization(layer.keys, layer.values)
        self.keys, self.values = layer.keys, layer.values
        self._all_keys, self._all_values = (functional.pad(part, (0, 0, 0, room)) for part in (self.keys, self.values))

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, T, size) of all tokens, the new ones among them."""
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        if end > self._all_keys.shape[2]:
            return super().update(key_states, value_states)
        self._all_keys[:, :, start:end], self._all_values[:, :, start:end] = key_states, value_states
        self.keys, self.values = self._all_keys[:, :, :end], self._all_values[:, :, :end]
        return self.keys, self.values


def _filled(cache: Any) -> list[Any]:
    return [layer for layer in cache.layers if layer.is_initialized]
