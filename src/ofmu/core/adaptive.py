"""A penalty weight that reacts to the round before: equation (52)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, final

from ofmu.core.schedule import Schedule, Seen
from ofmu.ranges import Range, check

FALL: Final = 0.9
"""A residual above this share of the last one has not fallen enough."""


@final
@dataclass
class Adaptive(Schedule):
    """ρ rises while stationarity stalls, and falls where the penalty or the outer step undoes forgetting (52).

        ρ ← ρ/γ  if κ > 0 or the outer step lowered L_f
        ρ ← ρ γ  else, if κ < 0 and ‖w‖ > .9 · the last ‖w‖
        ρ         else

    Args:
        start: ρ_0 ≥ 0; 0 stays 0.
        growth: γ ≥ 1.
        smallest: ρ never falls below this.
        largest: ρ never rises above this; None for no limit.
    """

    start: Annotated[float, Range(ge=0)]
    growth: Annotated[float, Range(ge=1)] = 2.0
    smallest: Annotated[float, Range(ge=0)] = 0.0
    largest: Annotated[float, Range(ge=0)] | None = None
    _rho: float = field(default=0.0, init=False, repr=False)
    _residual: float | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check(self)
        self._rho = self._within(self.start)

    def rho(self, k: int) -> float:
        """The weight that the rounds before have led to."""
        return self._rho

    def observe(self, seen: Seen) -> None:
        """Equation (52).

        >>> schedule = Adaptive(1.0, growth=2.0)
        >>> for residual, kappa in [(1.0, -1.0), (0.95, -1.0), (0.5, -1.0), (0.5, 1.0)]:
        ...     schedule.observe(Seen(residual, kappa, forget_change=0.0))
        ...     print(schedule.rho(0))
        1.0
        2.0
        2.0
        1.0
        """
        last, self._residual = self._residual, seen.residual
        if (seen.kappa or 0.0) > 0 or seen.forget_change < 0:
            self._rho = self._within(self._rho / self.growth)
        elif seen.kappa is not None and seen.kappa < 0 and last is not None and seen.residual > FALL * last:
            self._rho = self._within(self._rho * self.growth)

    def state_dict(self) -> dict[str, Any]:
        """The weight and the last residual."""
        return {"rho": self._rho, "residual": self._residual}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self._rho, self._residual = float(state["rho"]), state["residual"]

    def _within(self, rho: float) -> float:
        rho = rho if self.start == 0 else max(rho, self.smallest)
        return min(rho, 1e300 if self.largest is None else self.largest)
