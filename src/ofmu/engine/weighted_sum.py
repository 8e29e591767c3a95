"""The process that most rivals share: a weighted sum of two losses, minimised with AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ofmu.core.vector import Vector
from ofmu.engine.loss import BatchLoss, Draw
from ofmu.engine.method import Process, StepRecord
from ofmu.engine.moments import moments_by_name, restore_moments
from ofmu.engine.task import Task
from ofmu.errors import RunError

TINY = 1e-20
"""Below this squared norm a gradient is taken as zero and a cosine as undefined."""


@dataclass(frozen=True)
class Sides:
    """A method that is only a loss: F to be minimised on forget batches, R on retain batches.

    Args:
        forget: F of a drawn forget batch.
        retain: R of a drawn retain batch; None if the method uses no retain data.
        gamma: γ ≥ 0, the weight of F.
        alpha: α ≥ 0, the weight of R.
    """

    forget: Callable[[Draw], BatchLoss]
    retain: Callable[[Draw], BatchLoss] | None
    gamma: float
    alpha: float


class WeightedSum(Process):
    """Descent on L = γF + αR with AdamW: one gradient of each loss a step."""

    def __init__(self, task: Task, sides: Sides, *, weight_decay: float = 0.0, max_grad_norm: float = 1.0):
        self._task, self._sides, self._clip = task, sides, max_grad_norm
        self._derivatives = task.derivatives()
        self._optimiser = torch.optim.AdamW(
            list(task.parameters.values()), lr=task.pace.learning_rate, weight_decay=weight_decay, eps=1e-8, fused=True
        )

    def step(self) -> StepRecord:
        """One step of AdamW on γ∇F + α∇R, clipped to the norm given."""
        forget = self._sides.forget(self._task.draw("forget"))
        total = self._derivatives.gradient(forget)  # g_f, until g_r comes to it
        a, b, cosine, retain = total.norm().item(), None, None, None
        if self._sides.retain is None or self._sides.alpha == 0:
            total.mul_(self._sides.gamma)
        else:
            retain = self._sides.retain(self._task.draw("retain"))
            g_r = self._derivatives.gradient(retain)
            b = g_r.norm().item()
            if a * b > TINY:
                cosine = -total.dot(g_r).item() / (a * b)  # F is minimised: the loss to be raised is −F
            total.mul_(self._sides.gamma).add_(g_r, self._sides.alpha)
            del g_r  # a vector of the model's size
        norm = total.norm().item()
        if not math.isfinite(norm):
            raise RunError(f"the gradient is not finite (its norm is {norm}): the run has diverged")
        self._apply(total.mul_(self._clip / norm) if norm > self._clip else total)
        return StepRecord(
            forget_loss=forget.nll,
            retain_loss=None if retain is None else retain.nll,
            similarity=cosine,
            norm_forget=a,
            norm_retain=b,
            more={"forget_objective": forget.value, "norm_total": norm},
        )

    def _apply(self, gradient: Vector) -> None:
        self._task.before_edit()
        for group in self._optimiser.param_groups:
            group["lr"] = self._task.pace.now()
        for name, parameter in self._task.parameters.items():
            parameter.grad = gradient[name]
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's moments by parameter name, and the derivatives' memory."""
        moments = moments_by_name(self._optimiser, self._task.parameters)
        return {"moments": moments, "derivatives": self._derivatives.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        restore_moments(self._optimiser, self._task.parameters, state["moments"])
        self._derivatives.load_state_dict(state["derivatives"])
