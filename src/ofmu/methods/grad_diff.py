"""Gradient difference: ascent on the forget set, descent on the retain set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ofmu.engine.loss import BatchLoss, Draw
from ofmu.engine.method import Method, Process
from ofmu.engine.retain import RetainLoss, retain_loss
from ofmu.engine.task import Task
from ofmu.engine.weighted_sum import Sides, WeightedSum
from ofmu.losses import nll
from ofmu.ranges import Range


@dataclass(frozen=True, kw_only=True)
class GradDiff(Method):
    """Gradient difference: L = γF + αR, F = −NLL on the forget set, R on the retain set.

    F = −(1/N) Σ_i Σ_t ℓ_{i,t};  R = NLL, or KL(p_0‖p_θ) to the model before unlearning.

    Source: Liu et al. 2022 (arXiv 2203.12817); TOFU (arXiv 2401.06121).
    **Differs**: the divergence counts scored positions only, never prompt or padding.
    """

    name: ClassVar[str] = "grad_diff"
    paper: ClassVar[str] = "arXiv 2203.12817"
    cost: ClassVar[str] = "2 gradients a step; retain=kl: a forward pass and a second model (none under LoRA)"

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
        """The divergence needs whole distributions."""
        return self.retain == "kl"

    def start(self, task: Task) -> Process:
        """Begin on a task."""
        kind: RetainLoss = self.retain

        def forget(draw: Draw) -> BatchLoss:
            return task.loss(lambda rows, _: -nll(rows), draw, "tokens")

        sides = Sides(forget, retain_loss(task, kind), gamma=self.gamma, alpha=self.alpha)
        return WeightedSum(task, sides, weight_decay=self.weight_decay, max_grad_norm=self.max_grad_norm)
