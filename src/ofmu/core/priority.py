"""Forgetting first: a descent direction along which Φ may not fall, and rises until its target (53)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ofmu.core.vector import Vector, number
from ofmu.ranges import Range, check


@dataclass(frozen=True)
class Priority:
    """What comes first, and how fast.

    Args:
        target: Φ_target, in units of loss: up to there Φ is made to rise; beyond it only must not fall.
        rate: α ≥ 0, per unit of step size: Φ closes this share of its distance to the target in a unit of η.
    """

    target: float
    rate: Annotated[float, Range(ge=0)] = 1.0

    def __post_init__(self) -> None:
        check(self)

    def rise(self, phi: float) -> float:
        """τ = α max(0, Φ_target − Φ) ≥ 0: how fast Φ must rise, per unit of step size.

        >>> Priority(target=2.0, rate=0.5).rise(1.0), Priority(target=2.0).rise(3.0)
        (0.5, 0.0)
        """
        return self.rate * max(0.0, self.target - phi)


def multiplier(descent: Vector, w: Vector, rise: float) -> float:
    """μ = max(0, (τ + ⟨∇F, w⟩)/‖w‖²), the smallest μ ≥ 0 for which ⟨−(∇F − μw), w⟩ ≥ τ; it plays λ_eff.

    Args:
        descent: ∇F, or g_r where there is no penalty.
        w: ∇Φ.
        rise: τ ≥ 0.

    Returns:
        μ ≥ 0; 0 where w = 0, for there no direction makes Φ rise.
    """
    square = number(w.dot(w))
    return 0.0 if square == 0 else max(0.0, (rise + number(descent.dot(w))) / square)


def prioritised(descent: Vector, w: Vector, rise: float) -> tuple[Vector, float]:
    """The direction d = ∇F − μ w of (53), to be subtracted.

    To first order a step −ηd changes Φ by −η⟨d, w⟩ ≥ ητ, and of all directions that do so d is the one nearest
    to ∇F.

    Args:
        descent: ∇F, or g_r where there is no penalty.
        w: ∇Φ.
        rise: τ ≥ 0.

    Returns:
        (d, μ).
    """
    mu = multiplier(descent, w, rise)
    return (descent if mu == 0 else descent.plus(w, -mu)), mu
