"""How far a round may go, as a share of the model's own size; and the way back to where it began."""

from __future__ import annotations

import torch

from ofmu.core.caps import within_reach
from ofmu.core.vector import Vector
from ofmu.engine.rounds.places import Part
from ofmu.engine.task import Task


class Region:
    """The trust region ‖Δθ‖ ≤ τ‖θ‖ of one round: what goes beyond is scaled back onto its edge.

    The copy of θ that this needs is one vector more.

    Args:
        task: whose parameters change.
        radius: τ > 0; None keeps the copy alone.
        of: `whole`, or `matrix` for ‖Δθ_i‖ ≤ τ‖θ_i‖ of each tensor (one that is 0 may go anywhere).
    """

    def __init__(self, task: Task, radius: float | None, of: Part):
        self._task, self._radius, self._of = task, radius, of
        self._origin = Vector(task.parameters).clone()

    def back(self) -> None:
        """θ as the round began."""
        self._task.before_edit()
        with torch.no_grad():
            for name, p in self._task.parameters.items():
                p.copy_(self._origin[name])

    def keep(self) -> float:
        """Scale back what went beyond; the smallest factor that was applied, 1 where nothing was."""
        whole = Vector(self._task.parameters).detach()
        groups = [whole] if self._of == "whole" else [Vector({name: p}) for name, p in whole.items()]
        self._task.before_edit()
        return min(self._kept(theta) for theta in groups)

    def _kept(self, theta: Vector) -> float:
        origin = Vector({name: self._origin[name] for name in theta})
        factor = within_reach(theta - origin, origin, 1.0, self._radius)
        if factor < 1:
            theta.mul_(factor).add_(origin, 1 - factor)  # θ₀ + f (θ − θ₀)
        return factor
