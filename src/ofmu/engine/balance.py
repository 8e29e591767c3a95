"""The one balance knob reacts to the run: forgetting yields while retention suffers, and gains while it lags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ofmu.engine.checks import Check

DUE = 0.85
"""Progress that is due at the end of the course; the noise of the batches keeps a finished run below 1."""

YIELD = 0.7
"""Factor on the forget weight at a check that finds the retain loss outside its band."""

GAIN = 1.3
"""Factor on the forget weight at a check that finds forgetting behind its course."""

REACH = 0.7
"""Share of the steps allowed after which, on course, the goal is reached.

Until then the course rises with the cube: what has been memorised has almost no gradient at first.
"""


@dataclass
class Balance:
    """λ_eff over a run.

    Args:
        weight: λ_eff > 0 at the start.
        band: rise of the retain loss that is tolerated, as a share of its distance to chance level.
        opening: how many times as wide the band is at the start, ≥ 1; it narrows in a line to the last step allowed.
            While steps are long, part of a rise is their noise and heals as they shorten.
        limit: λ_eff stays between its start divided and multiplied by this.
    """

    weight: float
    band: float
    opening: float = 1.0
    limit: float = 8.0

    def __post_init__(self) -> None:
        self._start = self.weight

    def observe(self, check: Check, elapsed: float) -> None:
        """React to a check.

        Args:
            check: what was seen.
            elapsed: share of the steps allowed that has been taken.
        """
        if check.retain_excess > self.tolerated(elapsed):
            self.weight *= YIELD
        elif check.progress is not None and check.progress < DUE * min(1.0, elapsed / REACH) ** 3:
            self.weight *= GAIN
        self.weight = min(max(self.weight, self._start / self.limit), self._start * self.limit)

    def tolerated(self, elapsed: float) -> float:
        """The band after this share of the steps allowed.

        >>> [Balance(0.2, 0.01, opening=3.0).tolerated(elapsed) for elapsed in (0.0, 0.5, 1.0, 1.2)]
        [0.03, 0.02, 0.01, 0.01]
        """
        return self.band * (1 + (self.opening - 1) * max(0.0, 1 - elapsed))

    def state_dict(self) -> dict[str, Any]:
        """The weight, for a checkpoint."""
        return {"weight": self.weight, "start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.weight, self._start = state["weight"], state["start"]
