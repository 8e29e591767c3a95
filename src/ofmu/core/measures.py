"""The similarity measures of two gradients: each one φ(a, b, c) and its three slopes; what follows is in ``slope.py``.

a = ‖g_f‖, b = ‖g_r‖, c their cosine. Φ = L_f − β s is *raised*, so s is made small. In ascent, conflict is c > 0: a
step along g_f then raises L_r.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ofmu.core.slope import Measure
from ofmu.ranges import Range, check

Slopes = tuple[Tensor, Tensor, Tensor]
Margin = Annotated[float, Range(ge=-1, le=1)]


@final
class Cosine(Measure):
    """s = c, the paper's choice. Minimising it ends at c = −1: opposed gradients, not decorrelated ones."""

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = c."""
        return c

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(0, 0, 1)."""
        return _of_angle(torch.ones_like(c))


@final
class SquaredCosine(Measure):
    """s = c²: smallest at c = 0, true decorrelation."""

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = c²."""
        return c**2

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(0, 0, 2c)."""
        return _of_angle(2 * c)


@final
@dataclass(frozen=True)
class Hinge(Measure):
    """s = max(0, c − m): acts on conflict only, at full strength from the margin on.

    Args:
        margin: m, −1 … 1, the cosine up to which gradients count as not in conflict.
    """

    may_rest = True
    margin: Margin = 0.0

    def __post_init__(self) -> None:
        check(self)

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = max(0, c − m)."""
        return (c - self.margin).clamp_min(0)

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(0, 0, 1 where c > m, else 0)."""
        return _of_angle((c > self.margin).to(c.dtype))


@final
@dataclass(frozen=True)
class SquaredHinge(Measure):
    """s = max(0, c − m)²: acts on conflict only, smoothly, and costs nothing when c ≤ m.

    Args:
        margin: m, as in :class:`Hinge`.
    """

    may_rest = True
    margin: Margin = 0.0

    def __post_init__(self) -> None:
        check(self)

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = max(0, c − m)²."""
        return (c - self.margin).clamp_min(0) ** 2

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(0, 0, 2 max(0, c − m))."""
        return _of_angle(2 * (c - self.margin).clamp_min(0))


@final
@dataclass(frozen=True)
class SoftHinge(Measure):
    """s = τ log(1 + exp((c − m)/τ)): a hinge with a round corner; never inactive.

    Args:
        margin: m, as in :class:`Hinge`.
        temperature: τ > 0, the width of the corner in units of the cosine.
    """

    margin: Margin = 0.0
    temperature: Annotated[float, Range(gt=0)] = 0.1

    def __post_init__(self) -> None:
        check(self)

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = τ softplus((c − m)/τ)."""
        return self.temperature * softplus((c - self.margin) / self.temperature, threshold=700)

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(0, 0, σ((c − m)/τ))."""
        return _of_angle(((c - self.margin) / self.temperature).sigmoid())


@final
@dataclass(frozen=True)
class Euclid(Measure):
    """s = −√(‖u − v‖² + ε²) = −√(2 − 2c + ε²), u and v the unit gradients: minus their distance; ends at c = −1.

    Half the *squared* distance would be 1 − c: the cosine again.

    Args:
        smoothing: ε > 0; without it the slope at c = 1 is infinite.
    """

    smoothing: Annotated[float, Range(gt=0)] = 1e-2

    def __post_init__(self) -> None:
        check(self)

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = −√(2 − 2c + ε²)."""
        return -self._distance(c)

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(0, 0, 1/√(2 − 2c + ε²))."""
        return _of_angle(1 / self._distance(c))

    def _distance(self, c: Tensor) -> Tensor:
        # rounding may bring c a little above 1
        return ((2 - 2 * c).clamp_min(0) + self.smoothing**2).sqrt()


@final
@dataclass(frozen=True)
class Angle(Measure):
    """s = −arccos((1 − δ)c): minus the angle; ends at c = −1.

    Args:
        smoothing: δ in (0, 1); without it the slope is infinite at c = ±1. With it no slope exceeds 1/√(2δ).
    """

    smoothing: Annotated[float, Range(gt=0, lt=1)] = 1e-4

    def __post_init__(self) -> None:
        check(self)

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = −arccos((1 − δ)c), in radians."""
        return -((1 - self.smoothing) * c).arccos()

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(0, 0, (1 − δ)/√(1 − (1 − δ)²c²))."""
        shrunk = 1 - self.smoothing
        return _of_angle(shrunk / (1 - (shrunk * c) ** 2).sqrt())


@final
class Projection(Measure):
    """s = ac = g_fᵀv: the forget gradient's length along the retain gradient; depends on its scale. p = v."""

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = ac."""
        return a * c

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(c, 0, a)."""
        return c, torch.zeros_like(c), a


@final
class ProjectionEnergy(Measure):
    """s = ½(ac)²: the energy of that projection; smallest at c = 0, or where g_f vanishes."""

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = ½(ac)²."""
        return (a * c) ** 2 / 2

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(ac², 0, a²c)."""
        return a * c**2, torch.zeros_like(c), a**2 * c


@final
class RetainProjection(Measure):
    """s = bc = g_rᵀu: the retain gradient's length along the forget gradient. q = u."""

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = bc."""
        return b * c

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(0, c, b)."""
        return torch.zeros_like(c), c, b


@final
class InnerProduct(Measure):
    """s = abc = g_fᵀg_r: p = g_r and q = g_f; plays on the norms as well as on the angle."""

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = abc."""
        return a * b * c

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(bc, ac, ab)."""
        return b * c, a * c, a * b


@final
class SquaredInnerProduct(Measure):
    """s = ½(abc)²: smallest at c = 0, or where a gradient vanishes."""

    def phi(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The value φ = ½(abc)²."""
        return (a * b * c) ** 2 / 2

    def slopes(self, a: Tensor, b: Tensor, c: Tensor) -> Slopes:
        """(ab²c², a²bc², a²b²c)."""
        product = a * b * c
        return product * b * c, product * a * c, product * a * b


def _of_angle(phi_c: Tensor) -> Slopes:
    """The slopes of a measure of the angle alone: p and q are then orthogonal to g_f and g_r."""
    zero = torch.zeros_like(phi_c)
    return zero, zero, phi_c
