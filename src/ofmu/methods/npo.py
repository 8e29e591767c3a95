"""Negative preference optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ofmu.engine.loss import BatchLoss, Draw
from ofmu.engine.method import Method, Process
from ofmu.engine.reference import sums_of
from ofmu.engine.retain import retain_loss
from ofmu.engine.task import Task
from ofmu.engine.weighted_sum import Sides, WeightedSum
from ofmu.losses import npo
from ofmu.ranges import Range


@dataclass(frozen=True, kw_only=True)
class NPO(Method):
    """Negative preference optimisation: forget examples are rejected answers; bounded gradient ascent.

    F = (1/B) Σ_i −(2/β) log σ(β (S_i − S_i⁰)), S token *sums*; L = γF + αR.

    The scale of F is a token sum, that of R a token mean; the first gradient of F is that of −Σ_i S_i / B.
    S_i⁰ is computed once before the first step: no second model is held.

    Source: Zhang, Lin, Bai, Mei 2024 (arXiv 2404.05868).
    """

    name: ClassVar[str] = "npo"
    paper: ClassVar[str] = "arXiv 2404.05868"
    cost: ClassVar[str] = "2 gradients a step, one forward pass over the forget set; no second model"

    beta: Annotated[float, Range(gt=0)] = 0.1
    """β, the inverse temperature; towards 0 it becomes gradient ascent."""
    gamma: Annotated[float, Range(ge=0)] = 1.0
    """γ, the weight of the forget loss."""
    alpha: Annotated[float, Range(ge=0)] = 1.0
    """α, the weight of the retain loss."""
    retain: Literal["nll", "kl"] = "nll"
    """The retain loss: likelihood, or divergence from the model before unlearning."""
    weight_decay: Annotated[float, Range(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""
    max_grad_norm: Annotated[float, Range(gt=0)] = 1.0
    """The gradient is scaled down to this norm if it is longer."""

    def retains(self) -> bool:
        """Unless α is 0."""
        return self.alpha > 0

    def needs_reference_model(self) -> bool:
        """Only the divergence needs whole distributions; F needs one number per example."""
        return self.retain == "kl"

    def start(self, task: Task) -> Process:
        """Begin on a task."""
        reference = sums_of(task)

        def forget(draw: Draw) -> BatchLoss:
            return task.loss(lambda rows, _: npo(rows, reference(rows), self.beta), draw, "examples")

        sides = Sides(forget, retain_loss(task, self.retain), gamma=self.gamma, alpha=self.alpha)
        return WeightedSum(task, sides, weight_decay=self.weight_decay, max_grad_norm=self.max_grad_norm)
