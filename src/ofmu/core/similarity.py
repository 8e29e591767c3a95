"""How alike the two gradients are: s = φ(a, b, c), and its partial derivatives by the closed form (8).

a = ‖g_f‖, b = ‖g_r‖, c = cos∠(g_f, g_r). Every similarity that sees only norms and angle is a few lines: φ
and its three slopes. The rest is here, once:

    p = ∂s/∂g_f = α_f g_f + α_r g_r,   α_f = φ_a/a − c φ_c/a²,   α_r = φ_c/(ab)                      (8)
    q = ∂s/∂g_r = δ_r g_r + α_r g_f,   δ_r = φ_b/b − c φ_c/b²

With ε > 0 the norms are A = √(a² + ε²), B = √(b² + ε²) and c = g_fᵀg_r/(AB) in φ and in (8): the regularised
form (9), bounded where a gradient vanishes. Where a norm is 0 and ε = 0 there is no angle: c = p = q = 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ofmu.core.vector import Vector, number
from ofmu.errors import unknown


@dataclass(frozen=True)
class Slope:
    """A similarity at one pair of gradients: its value s and the three scalars from which p and q are made.

    All are 0-d float64 tensors; they belong to the graph of the gradients if those do. ``active`` is false
    where φ_a = φ_b = φ_c = 0: then p = q = 0, and no curvature product need be computed.
    """

    value: Tensor
    alpha_f: Tensor
    alpha_r: Tensor
    delta_r: Tensor
    active: bool

    def p(self, forget: Vector, retain: Vector) -> Vector:
        """∂s/∂g_f at (g_f, g_r) = (forget, retain)."""
        return (forget * self.alpha_f).plus(retain, self.alpha_r)

    def q(self, forget: Vector, retain: Vector) -> Vector:
        """∂s/∂g_r at (g_f, g_r) = (forget, retain)."""
        return (retain * self.delta_r).plus(forget, self.alpha_r)


class Similarity(ABC):
    """s = φ(a, b, c) of two gradients; a new one states φ and its slopes and nothing else."""

    @abstractmethod
    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """φ at the norms a, b ≥ 0 and the cosine −1 ≤ c ≤ 1: 0-d float64."""

    @abstractmethod
    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(φ_a, φ_b, φ_c) at the same point."""

    def value(self, forget: Vector, retain: Vector, *, epsilon: float = 0.0) -> Tensor:
        """S at (g_f, g_r): 0-d float64, in the graph of the gradients if they have one."""
        return self.slope(forget, retain, epsilon=epsilon).value

    def partials(self, forget: Vector, retain: Vector, *, epsilon: float = 0.0) -> tuple[Vector, Vector]:
        """(p, q) = (∂s/∂g_f, ∂s/∂g_r), by (8) or, with ε > 0, (9)."""
        slope = self.slope(forget, retain, epsilon=epsilon)
        return slope.p(forget, retain), slope.q(forget, retain)

    def slope(self, forget: Vector, retain: Vector, *, epsilon: float = 0.0) -> Slope:
        """Value and scalars of (8) at one pair of gradients, from three inner products.

        Args:
            forget: g_f.
            retain: g_r.
            epsilon: ε ≥ 0 of (9), in units of a gradient norm.

        Returns:
            The slope; inactive where all of φ's derivatives vanish or a regularised norm is 0.
        """
        a = (forget.dot(forget) + epsilon**2).sqrt()
        b = (retain.dot(retain) + epsilon**2).sqrt()
        if number(a) == 0 or number(b) == 0:
            zero = torch.zeros_like(a.detach())
            return Slope(self.phi(a.detach(), b.detach(), zero), zero, zero, zero, active=False)
        c = forget.dot(retain) / (a * b)
        phi_a, phi_b, phi_c = self.slopes(a, b, c)
        return Slope(
            value=self.phi(a, b, c),
            alpha_f=phi_a / a - c * phi_c / a**2,
            alpha_r=phi_c / (a * b),
            delta_r=phi_b / b - c * phi_c / b**2,
            active=any(number(x) != 0 for x in (phi_a, phi_b, phi_c)),
        )


@final
class Cosine(Similarity):
    """s = c, the paper's choice. Minimising it ends at c = −1: opposed gradients, not decorrelated ones."""

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Φ = c."""
        return c

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(0, 0, 1)."""
        zero = torch.zeros_like(c)
        return zero, zero, torch.ones_like(c)


@final
class SquaredCosine(Similarity):
    """s = c²: smallest at c = 0, true decorrelation."""

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Φ = c²."""
        return c**2

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(0, 0, 2c)."""
        zero = torch.zeros_like(c)
        return zero, zero, 2 * c


@final
@dataclass(frozen=True)
class SquaredHinge(Similarity):
    """s = max(0, c − m)²: acts on conflict only (in ascent, conflict is c > 0) and costs nothing when c ≤ m.

    Args:
        margin: m, −1 … 1, the cosine up to which gradients count as not in conflict.
    """

    margin: float = 0.0

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Φ = max(0, c − m)²."""
        return (c - self.margin).clamp_min(0) ** 2

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(0, 0, 2 max(0, c − m))."""
        zero = torch.zeros_like(c)
        return zero, zero, 2 * (c - self.margin).clamp_min(0)


SIMILARITIES: dict[str, type[Similarity]] = {
    "cosine": Cosine,
    "squared_cosine": SquaredCosine,
    "squared_hinge": SquaredHinge,
}
"""name that users type → class."""


def make(name: str) -> Similarity:
    """The similarity of that name, with its default options.

    Args:
        name: a key of ``SIMILARITIES``.

    Returns:
        A new similarity.

    Raises:
        InputError: no similarity has that name.
    """
    if name not in SIMILARITIES:
        raise unknown("similarity", name, SIMILARITIES)
    return SIMILARITIES[name]()
