"""Plain training: descent on the likelihood with AdamW, in training mode."""

from __future__ import annotations

import math
from typing import Any

import torch

from ofmu.core.vector import Vector
from ofmu.engine.method import Process, StepRecord
from ofmu.engine.moments import moments_by_name, restore_moments
from ofmu.engine.work import Work
from ofmu.errors import RunError
from ofmu.losses import nll


class Training(Process):
    """One step is one batch of the set `data`: θ ← AdamW(∇ mean token loss), clipped.

    Dropout is on and batch statistics are updated, as the model's training mode says.

    Args:
        work: whose data hold the one set `data`.
        weight_decay: decoupled, ≥ 0.
        max_grad_norm: the gradient is scaled down to this norm if it is longer.
    """

    def __init__(self, work: Work, *, weight_decay: float, max_grad_norm: float):
        self._work, self._clip = work, max_grad_norm
        self._optimiser = torch.optim.AdamW(
            list(work.parameters.values()), lr=work.pace.learning_rate, weight_decay=weight_decay, fused=True
        )

    def step(self) -> StepRecord:
        """One step of AdamW."""
        loss = self._work.loss(lambda rows, _: nll(rows), self._work.draw("data"), "tokens")
        self._optimiser.zero_grad(set_to_none=True)
        for part in loss:
            part().backward()
        gradient = Vector({n: p.grad for n, p in self._work.parameters.items() if p.grad is not None})
        norm = gradient.norm().item()
        if not math.isfinite(norm):
            raise RunError(f"the gradient is not finite (its norm is {norm}): the training has diverged")
        if norm > self._clip:
            gradient.mul_(self._clip / norm)  # in place: these are the parameters' own gradients
        for group in self._optimiser.param_groups:
            group["lr"] = self._work.pace.now()
        self._work.before_edit()
        self._optimiser.step()
        return StepRecord(None, loss.nll, None, None, norm, {"training_loss": loss.value})

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's moments by parameter name."""
        return {"moments": moments_by_name(self._optimiser, self._work.parameters)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        restore_moments(self._optimiser, self._work.parameters, state["moments"])
