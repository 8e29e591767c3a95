"""The augmented Lagrangian: a multiplier for each component of ∇Φ = 0, so that ρ need not grow.

    L_ρ(θ, ν) = L_r + ⟨ν, ∇Φ⟩ + ρ‖∇Φ‖²                                                          (55)
    ∇_θ L_ρ = g_r + ∇²Φ (ν + 2ρw),   w = ∇Φ                                                      (56)
    ν ← ν + 2ρ w                                                                                 (57)

Where L_ρ and w vanish together, g_r = −∇²Φ ν: the conditions of the bi-level problem (2) itself, at any ρ > 0,
where the penalty alone leaves a residual of order 1/ρ. ν has the size of the parameters.
"""

from __future__ import annotations

from typing import Any, final

from torch import Tensor

from ofmu.core.vector import Vector, number
from ofmu.errors import InputError


@final
class Multipliers:
    """ν of (55), 0 at first.

    Args:
        largest: ‖ν‖ is held to this (> 0): where ∇Φ = 0 has no solution near by, as for the likelihood of a
            margin, ν would grow for ever. None: no limit.
    """

    def __init__(self, largest: float | None = None) -> None:
        if largest is not None and not largest > 0:
            raise InputError(f"the largest multiplier is {largest:g}, but must be > 0")
        self.largest = largest
        self.value: Vector | None = None

    def update(self, w: Vector, rho: float) -> None:
        """ν ← ν + 2ρ w (57), shortened to ``largest`` where it would be longer.

        Args:
            w: ∇Φ after the outer step; where the next round begins it costs nothing.
            rho: the absolute ρ of that step.
        """
        if rho == 0:
            return
        if self.value is None:
            self.value = Vector.zeros_like(w)
        self.value.add_(w, 2 * rho)
        if self.largest is not None and (norm := number(self.value.norm())) > self.largest:
            self.value.mul_(self.largest / norm)

    def state_dict(self) -> dict[str, Any]:
        """ν by name; empty where it is 0."""
        return {} if self.value is None else dict(self.value.clone())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.value = Vector(state).clone() if state else None
