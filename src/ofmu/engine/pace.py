"""How large the steps are and how many there will be."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ofmu.models.scale import spectral_scale

PEAK = 0.05
"""Share r of the model's own scale that a step has at its peak (about 7.1e-4 for a 2.6M Llama of width 192)."""

WARM_UP = 0.1
"""Share of the planned steps during which the step size grows linearly."""

SETTLE = 1.0
"""Steps that follow with falling step size once the goal has been reached, as a share of those taken so far."""


def default_learning_rate(model: nn.Module) -> float:
    """η = r · median over the hidden matrices W (n × m) of ‖W‖₂/√(nm): follows the width as it should."""
    return PEAK * spectral_scale(model)


def default_steps(num_forget: int, batch_size: int) -> int:
    """First guess: twelve passes over the forget set, at least 60 steps and at most 1,000."""
    return min(1000, max(60, math.ceil(12 * num_forget / batch_size)))


@dataclass
class Pace:
    """Step size over a run: linear warm-up, then linear fall to the last step allowed.

    Once the goal is reached it falls faster, within as many steps as were taken so far, and the run ends.

    Args:
        learning_rate: η at the peak.
        steps: the most steps there may be.
        fixed: the length is given and the fall goes over all steps after warm-up; no goal is waited for.
        step: steps taken.
        warm: steps of the warm-up; 0 takes a tenth of all.
        falls_at: step at which the goal was reached; None while it is not.
        ends_at: step at which the run then ends.
    """

    learning_rate: float
    steps: int
    fixed: bool = False
    step: int = 0
    warm: int = 0
    falls_at: int | None = field(default=None)
    ends_at: int | None = field(default=None)

    def __post_init__(self) -> None:
        self.warm = self.warm or max(1, math.ceil(WARM_UP * self.steps))

    @property
    def ended(self) -> bool:
        """Whether the last step has been taken."""
        return self.step >= (self.steps if self.ends_at is None else self.ends_at)

    @property
    def reached(self) -> bool:
        """Whether the goal was reached (the run settles or has settled)."""
        return self.falls_at is not None

    def now(self) -> float:
        """η of the step about to be taken."""
        return self.learning_rate * min(1.0, (self.step + 1) / self.warm, self._fall())

    def _fall(self) -> float:
        planned = 1.0 if self.step < self.warm else self._share(self.warm, self.steps, self.step)
        if self.falls_at is None or self.ends_at is None:
            return planned
        settled = self._share(self.warm, self.steps, self.falls_at)  # from where the goal found it, down to zero
        return settled * self._share(self.falls_at, self.ends_at, self.step)

    @staticmethod
    def _share(start: int, end: int, step: int) -> float:
        return max(end - step, 1) / max(end - start, 1)

    def at_most(self, steps: int) -> None:
        """Fewer steps are allowed than was thought (the budget runs out earlier); never more."""
        self.steps = min(self.steps, steps)
        if self.ends_at is not None:
            self.ends_at = min(self.ends_at, self.steps)

    def goal_reached(self) -> None:
        """The goal holds: settle during as many steps as were taken so far, then end."""
        if not self.fixed and self.falls_at is None:
            self.falls_at = self.step
            self.ends_at = min(self.steps, self.step + math.ceil(SETTLE * self.step))

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands, for a checkpoint."""
        return {
            "step": self.step,
            "steps": self.steps,
            "warm": self.warm,
            "falls_at": self.falls_at,
            "ends_at": self.ends_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.step, self.steps, self.warm = state["step"], state["steps"], state["warm"]
        self.falls_at, self.ends_at = state["falls_at"], state["ends_at"]
