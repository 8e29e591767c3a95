"""The penalty weight ρ over the rounds: what every rule offers, and the rules that know the round alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, final

from ofmu.ranges import Range, check

_LARGEST_EXPONENT = 700.0
"""exp of more would overflow."""


@dataclass(frozen=True)
class Seen:
    """What a schedule is told of a round: numbers only.

    Args:
        residual: ‖w‖ = ‖∇Φ‖ ≥ 0 where the round began.
        kappa: κ of (40) at the outer step; None where there was no penalty.
        forget_change: how much the outer step changed L_f, to first order: negative where it undid forgetting.
    """

    residual: float
    kappa: float | None
    forget_change: float


class Schedule(ABC):
    """A rule for ρ_k; absolute or relative alike, it only multiplies."""

    @abstractmethod
    def rho(self, k: int) -> float:
        """ρ_k ≥ 0 in round k ≥ 0: finite, and the same until :meth:`observe` is called."""

    def observe(self, seen: Seen) -> None:  # noqa: B027 - most rules have nothing to learn
        """Learn from the round that has ended. Most rules do not."""

    def state_dict(self) -> dict[str, Any]:
        """What later weights depend on besides the options: plain numbers, empty if nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - as above
        """Take up where :meth:`state_dict` was called."""


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
    log(1/(η_out λ² ρ_0))/log γ rounds; with a matching step size it comes to rest after a finite way (33).

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
        if math.log(self.start) + k * math.log(self.growth) > _LARGEST_EXPONENT:
            return min(math.exp(_LARGEST_EXPONENT), ceiling)
        return min(self.start * self.growth**k, ceiling)


@final
@dataclass(frozen=True)
class Polynomial(Schedule):
    """ρ_k = min(ρ_0 (1 + k)ᵖ, ρ_max): grows without end, and with η_k ∝ 1/ρ_k and p ≤ 1 the way stays open (54).

    Args:
        start: ρ_0 ≥ 0.
        power: p ≥ 0.
        largest: ρ_max ≥ 0, or None for none.
    """

    start: Annotated[float, Range(ge=0)]
    power: Annotated[float, Range(ge=0, le=8)] = 1.0
    largest: Annotated[float, Range(ge=0)] | None = None

    def __post_init__(self) -> None:
        check(self)

    def rho(self, k: int) -> float:
        """Weight of round k.

        >>> [Polynomial(0.5, power=2.0, largest=4.0).rho(k) for k in range(4)]
        [0.5, 2.0, 4.0, 4.0]
        """
        ceiling = math.inf if self.largest is None else self.largest
        return min(self.start * (1.0 + k) ** self.power, ceiling)


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
