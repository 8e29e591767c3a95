"""A similarity layer by layer, or tensor by tensor, in the place of one over the whole vector.

    s = Σ_g ω_g φ(a_g, b_g, c_g),   ω_g = 1 (summed) or n_g/n (weighted by size)

over blocks g of n_g parameters. p and q then have a block each, by (8) with the block's own norms and cosine. One flat
cosine is ruled by the largest gradients; blocks see a conflict in a small layer too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from ofmu.core.slope import Similarity, Slope
from ofmu.core.vector import Vector
from ofmu.errors import InputError, unknown

By = Literal["layer", "tensor"]
Weights = Literal["sum", "size"]


def layer_of(name: str) -> str:
    """The layer that a parameter belongs to: its name up to the first number, else its module.

    >>> layer_of("model.layers.3.mlp.up_proj.weight"), layer_of("head.weight"), layer_of("w")
    ('model.layers.3', 'head', 'w')
    """
    parts = name.split(".")
    for index, part in enumerate(parts[:-1]):
        if part.isdigit():
            return ".".join(parts[: index + 1])
    return ".".join(parts[:-1]) or name


_BLOCK_OF: dict[str, Callable[[str], str]] = {"layer": layer_of, "tensor": lambda name: name}


@final
@dataclass(frozen=True)
class Blocks(Similarity):
    """Σ_g ω_g s_g of a similarity on blocks of the parameters.

    Args:
        of: the similarity of each block.
        by: ``layer`` or ``tensor``.
        weights: ``sum``, each block counts as one; ``size``, by its share of the parameters.

    Raises:
        InputError: an unknown kind of block or weight, or blocks of blocks.
    """

    of: Similarity
    by: By = "layer"
    weights: Weights = "size"

    def __post_init__(self) -> None:
        if self.by not in _BLOCK_OF:
            raise unknown("kind of block", self.by, _BLOCK_OF)
        if self.weights not in ("sum", "size"):
            raise unknown("weights of blocks", self.weights, ["sum", "size"])
        if isinstance(self.of, Blocks):
            raise InputError("blocks of blocks are no similarity: give the similarity of one block")
        object.__setattr__(self, "may_rest", self.of.may_rest)  # frozen, and no field of its own

    def slope(self, forget: Vector, retain: Vector, *, epsilon: float = 0.0) -> Slope:
        """Value and partials, block by block.

        ε² is dealt out by size, ε_g² = ε² n_g/n, so that the blocks' shares add up to that of the whole.
        """
        blocks: dict[str, list[str]] = {}
        for name in forget:
            blocks.setdefault(_BLOCK_OF[self.by](name), []).append(name)
        total = sum(x.numel() for x in forget.values())
        parts = []
        for names in blocks.values():
            share = sum(forget[name].numel() for name in names) / total
            slope = self.of.slope(_part(forget, names), _part(retain, names), epsilon=epsilon * math.sqrt(share))
            parts.append(_Part(tuple(names), 1.0 if self.weights == "sum" else share, slope))
        return BlockSlope(tuple(parts))


@dataclass(frozen=True)
class _Part:
    names: tuple[str, ...]
    weight: float
    slope: Slope


@final
class BlockSlope(Slope):
    """The slopes of all blocks; active where any of them is."""

    def __init__(self, parts: tuple[_Part, ...]) -> None:
        self._parts = parts
        values = [part.weight * part.slope.value for part in parts]
        self.value: Tensor = sum(values[1:], start=values[0])
        self.active = any(part.slope.active for part in parts)

    def p(self, forget: Vector, retain: Vector) -> Vector:
        """∂s/∂g_f, each block by its own slope."""
        return self._joined(lambda part, g_f, g_r: part.slope.p(g_f, g_r), forget, retain)

    def q(self, forget: Vector, retain: Vector) -> Vector:
        """∂s/∂g_r, likewise."""
        return self._joined(lambda part, g_f, g_r: part.slope.q(g_f, g_r), forget, retain)

    def _joined(self, partial: Callable[[_Part, Vector, Vector], Vector], forget: Vector, retain: Vector) -> Vector:
        found: dict[str, Tensor] = {}
        for part in self._parts:
            found |= partial(part, _part(forget, part.names), _part(retain, part.names)) * part.weight
        return Vector({name: found[name] for name in forget})


def _part(vector: Vector, names: list[str] | tuple[str, ...]) -> Vector:
    return Vector({name: vector[name] for name in names})
