"""Inner products: one pass over memory each, and none where nothing has changed since the last time.

An inner product reads two vectors of the model's size and is asked for again and again: norms for the similarity, for
the steps of differences, for the history. A result is used again as long as nobody has written into either vector:
torch counts the writes into a tensor (``_version``), and vectors count their own, which torch does not see where a
kernel of several tensors is followed by a dispatch mode or works on shards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, final
from weakref import ref

import torch
from torch import Tensor

from ofmu.core.foreach import is_sharded

if TYPE_CHECKING:
    from ofmu.core.vector import Vector

ROW: Final = 1 << 10
"""Products summed in the tensors' own precision before the sum goes on in float64: as exact as float64 throughout
(what counts is the rounding of each product), at a tenth of the time."""


@final
class Remembered:
    """The last inner product of a vector with itself, and the last one with another."""

    def __init__(self) -> None:
        self._held: dict[bool, tuple[ref[Vector], list[int], Tensor]] = {}

    def product(self, one: Vector, other: Vector) -> Tensor:
        """⟨one, other⟩, ``one`` being the vector that this belongs to; never remembered where it has a graph."""
        tensors = (*one.values(), *other.values())
        writes = [one.writes, other.writes, *(count for x in tensors for count in (id(x), x._version))]
        held = self._held.get(one is other)
        if held is not None and held[0]() is other and held[1] == writes:
            return held[2]
        found = sum_of_products((x, other[name]) for name, x in one.items())
        if not any(x.requires_grad for x in tensors):
            self._held[one is other] = (ref(other), writes, found)
        return found


def sum_of_products(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Σ ⟨x, y⟩ over pairs of tensors of equal shapes: 0-d float64, the same on every rank.

    Differentiable. Of sharded tensors one all-reduce for all.
    """
    parts: list[Tensor] = []
    sharded: Tensor | None = None
    for x, y in pairs:
        if is_sharded(x) or is_sharded(y):
            product = (x * y).sum(dtype=torch.float64)
            sharded = product if sharded is None else sharded + product
        else:
            parts += _parts(x, y)
    if sharded is not None and is_sharded(sharded):
        parts.append(sharded.full_tensor())
    if not parts:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack([part.to(parts[0].device) for part in parts]).sum(dtype=torch.float64)


def _parts(x: Tensor, y: Tensor) -> list[Tensor]:
    """Numbers, 0-d, whose sum is ⟨x, y⟩."""
    if x.dtype in {torch.float16, torch.bfloat16} or x.dtype != y.dtype:
        wide = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        x, y = x.to(wide), y.to(wide)
    x, y = x.reshape(-1), y.reshape(-1)
    if x.device.type == "mps":  # has no float64
        return [(x * y).sum().cpu().double()]
    if x.numel() <= ROW:
        return [torch.dot(x, y)]
    whole = x.numel() // ROW * ROW
    rows = torch.linalg.vecdot(x[:whole].view(-1, ROW), y[:whole].view(-1, ROW)).sum(dtype=torch.float64)
    return [rows] if whole == x.numel() else [rows, torch.dot(x[whole:], y[whole:])]
