"""How alike the two gradients are, s, and its slope: the partial derivatives p = ∂s/∂g_f and q = ∂s/∂g_r.

a = ‖g_f‖, b = ‖g_r‖, c = cos∠(g_f, g_r). A measure that sees only norms and angle, s = φ(a, b, c), is a few lines
(``measures.py``): φ and its three slopes. The rest is here, once:

    p = ∂s/∂g_f = α_f g_f + α_r g_r,   α_f = φ_a/a − c φ_c/a²,   α_r = φ_c/(ab)                      (8)
    q = ∂s/∂g_r = δ_r g_r + α_r g_f,   δ_r = φ_b/b − c φ_c/b²

With ε > 0 the norms are A = √(a² + ε²), B = √(b² + ε²) and c = g_fᵀg_r/(AB) in φ and in (8): the regularised
form (9), bounded where a gradient vanishes. Where a norm is 0 and ε = 0 there is no angle: c = p = q = 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ofmu.core.vector import Combination, Direction, Vector, number


class Slope(ABC):
    """A similarity at one pair of gradients, (g_f, g_r) = (forget, retain); p and q are formed when asked for.

    Attributes:
        value: s, 0-d float64, in the graph of the gradients if they have one.
        active: false where p = q = 0 whatever the gradients' directions: no curvature product need be computed.
    """

    value: Tensor
    active: bool

    @abstractmethod
    def p(self, forget: Vector, retain: Vector) -> Vector:
        """∂s/∂g_f."""

    @abstractmethod
    def q(self, forget: Vector, retain: Vector) -> Vector:
        """∂s/∂g_r."""

    def along_p(self, forget: Vector, retain: Vector) -> Direction:
        """Partial p to move along; where it is a combination of the gradients it need not be formed."""
        return self.p(forget, retain)

    def along_q(self, forget: Vector, retain: Vector) -> Direction:
        """Partial q, likewise."""
        return self.q(forget, retain)


class Similarity(ABC):
    """A function s of two gradients.

    Attributes:
        may_rest: whether s is inactive (p = q = 0) where the gradients are not in conflict; a run then looks at the
            conflict first, and saves the curvature where there is none. A class that can be says so.
    """

    may_rest: bool = False

    @abstractmethod
    def slope(self, forget: Vector, retain: Vector, *, epsilon: float = 0.0) -> Slope:
        """Value and partial derivatives at one pair of gradients.

        Args:
            forget: g_f.
            retain: g_r.
            epsilon: ε ≥ 0 of (9), in units of a gradient norm.
        """

    def value(self, forget: Vector, retain: Vector, *, epsilon: float = 0.0) -> Tensor:
        """The value s at (g_f, g_r): 0-d float64, in the graph of the gradients if they have one."""
        return self.slope(forget, retain, epsilon=epsilon).value

    def partials(self, forget: Vector, retain: Vector, *, epsilon: float = 0.0) -> tuple[Vector, Vector]:
        """(p, q) = (∂s/∂g_f, ∂s/∂g_r), by (8) or, with ε > 0, (9)."""
        slope = self.slope(forget, retain, epsilon=epsilon)
        return slope.p(forget, retain), slope.q(forget, retain)


@dataclass(frozen=True)
class Scalars(Slope):
    """The slope of a measure: three scalars of (8), 0-d float64, in the graph of the gradients if they have one."""

    value: Tensor
    alpha_f: Tensor
    alpha_r: Tensor
    delta_r: Tensor
    active: bool

    def p(self, forget: Vector, retain: Vector) -> Vector:
        """∂s/∂g_f = α_f g_f + α_r g_r."""
        return self.along_p(forget, retain).formed()

    def q(self, forget: Vector, retain: Vector) -> Vector:
        """∂s/∂g_r = δ_r g_r + α_r g_f."""
        return self.along_q(forget, retain).formed()

    def along_p(self, forget: Vector, retain: Vector) -> Combination:
        """Partial p, not formed."""
        return Combination(forget, self.alpha_f, retain, self.alpha_r)

    def along_q(self, forget: Vector, retain: Vector) -> Combination:
        """Partial q, not formed."""
        return Combination(retain, self.delta_r, forget, self.alpha_r)


class Measure(Similarity):
    """s = φ(a, b, c); a new one states φ and its slopes and nothing else."""

    @abstractmethod
    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """φ at the norms a, b ≥ 0 and the cosine −1 ≤ c ≤ 1: 0-d float64."""

    @abstractmethod
    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(φ_a, φ_b, φ_c) at the same point."""

    def slope(self, forget: Vector, retain: Vector, *, epsilon: float = 0.0) -> Scalars:
        """Value and scalars of (8), from three inner products; inactive too where a regularised norm is 0."""
        a = (forget.dot(forget) + epsilon**2).sqrt()
        b = (retain.dot(retain) + epsilon**2).sqrt()
        if number(a) == 0 or number(b) == 0:
            zero = torch.zeros_like(a.detach())
            return Scalars(self.phi(a.detach(), b.detach(), zero), zero, zero, zero, active=False)
        c = forget.dot(retain) / (a * b)
        phi_a, phi_b, phi_c = self.slopes(a, b, c)
        return Scalars(
            value=self.phi(a, b, c),
            alpha_f=phi_a / a - c * phi_c / a**2,
            alpha_r=phi_c / (a * b),
            delta_r=phi_b / b - c * phi_c / b**2,
            active=any(number(x) != 0 for x in (phi_a, phi_b, phi_c)),
        )
