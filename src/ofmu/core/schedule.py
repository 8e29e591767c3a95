"""The penalty weight ρ over the rounds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, final

from ofmu.ranges import Range, check


class Schedule(ABC):
    """A rule for ρ_k; absolute or relative alike, it only multiplies."""

    @abstractmethod
    def rho(self, k: int) -> float:
        """ρ_k ≥ 0 in round k ≥ 0."""


@final
@dataclass(frozen=True)
class Constant(Schedule):
    """ρ_k = ρ_0.

    Args:
        start: ρ_0 ≥ 0.
    """

    start: Annotated[float, Range(ge=0)]

    def __post_init__(self) -> None:
        check(self)

    def rho(self, k: int) -> float:
        """ρ_0, whatever the round."""
        return self.start


@final
@dataclass(frozen=True)
class Geometric(Schedule):
    """ρ_k = min(ρ_0 γᵏ, ρ_max): equation (6), with a ceiling.

    Without a ceiling and with a constant step size, the iteration leaves its stable range (31) after about
    log(1/(η_out λ² ρ_0))/log γ rounds; hence ``largest``, and :func:`stability_cap` at every step.

    Args:
        start: ρ_0 ≥ 0.
        growth: γ ≥ 1.
        largest: ρ_max ≥ 0, or None for none (the paper).
    """

    start: Annotated[float, Range(ge=0)]
    growth: Annotated[float, Range(ge=1)]
    largest: Annotated[float, Range(ge=0)] | None = None

    def __post_init__(self) -> None:
        check(self)

    def rho(self, k: int) -> float:
        """Weight of round k.

        >>> [Geometric(0.5, 2.0, largest=3.0).rho(k) for k in range(4)]
        [0.5, 1.0, 2.0, 3.0]
        """
        ceiling = math.inf if self.largest is None else self.largest
        if self.start == 0:
            return 0.0
        # in logarithms first: γᵏ overflows long before a long run ends
        if math.log(self.start) + k * math.log(self.growth) > 700:
            return min(math.exp(700), ceiling)
        return min(self.start * self.growth**k, ceiling)


def stability_cap(outer_lr: float, curvature: float) -> float:
    """The largest safe ρ: 1/(2 η_out λ̂²), the middle of the stable range |1 − 2ρη_outλ²| < 1 of (31).

    Args:
        outer_lr: η_out > 0.
        curvature: λ̂ = ‖∇²Φ w‖/‖w‖ ≥ 0, in units of loss per squared parameter.

    Returns:
        ρ > 0; infinite where there is no curvature.
    """
    bound = 2 * outer_lr * curvature**2
    return math.inf if bound == 0 else 1 / bound
