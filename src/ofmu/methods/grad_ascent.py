"""Gradient ascent on the forget set: the oldest method, and the one that knows no end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ofmu.engine.loss import BatchLoss, Draw
from ofmu.engine.method import Method, Process
from ofmu.engine.task import Task
from ofmu.engine.weighted_sum import Sides, WeightedSum
from ofmu.losses import nll
from ofmu.ranges import Range


@dataclass(frozen=True, kw_only=True)
class GradAscent(Method):
    """Gradient ascent: minimise F = −NLL on the forget set, with nothing that holds the rest.

    F = −(1/N) Σ_i Σ_t ℓ_{i,t}

    Source: Jang et al. 2022 (arXiv 2210.01504); Yao et al. 2023 (arXiv 2310.10683).
    """

    name: ClassVar[str] = "grad_ascent"
    paper: ClassVar[str] = "arXiv 2210.01504"
    cost: ClassVar[str] = "1 gradient a step; no further memory"

    weight_decay: Annotated[float, Range(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""
    max_grad_norm: Annotated[float, Range(gt=0)] = 1.0
    """The gradient is scaled down to this norm if it is longer."""

    def retains(self) -> bool:
        """No."""
        return False

    def gradients_a_step(self) -> float:
        """One: there is no retain side."""
        return 1.0

    def start(self, task: Task) -> Process:
        """Begin on a task."""

        def forget(draw: Draw) -> BatchLoss:
            return task.loss(lambda rows, _: -nll(rows), draw, "tokens")

        sides = Sides(forget, None, gamma=1.0, alpha=0.0)
        return WeightedSum(task, sides, weight_decay=self.weight_decay, max_grad_norm=self.max_grad_norm)
