"""Simple negative preference optimisation, without a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ofmu.engine.loss import BatchLoss, Draw
from ofmu.engine.method import Method, Process
from ofmu.engine.retain import retain_loss
from ofmu.engine.task import Task
from ofmu.engine.weighted_sum import Sides, WeightedSum
from ofmu.losses import simnpo
from ofmu.ranges import Range


@dataclass(frozen=True, kw_only=True)
class SimNPO(Method):
    """Simple NPO: the token mean of the loss in the place of the difference to a reference.

    F = (1/B) Σ_i −(2/β) log σ(β (A_i − δ)), A token *means*; L = γF + αR.

    Source: Fan et al. 2024 (arXiv 2410.07163); the paper's margin is γ = βδ.
    """

    name: ClassVar[str] = "simnpo"
    paper: ClassVar[str] = "arXiv 2410.07163"
    cost: ClassVar[str] = "2 gradients a step; no reference"

    beta: Annotated[float, Range(gt=0)] = 4.5
    """β."""
    delta: Annotated[float, Range(ge=0)] = 0.0
    """δ, the loss in nats around which the gradient fades."""
    gamma: Annotated[float, Range(ge=0)] = 0.125
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
        """Only the divergence needs whole distributions."""
        return self.retain == "kl"

    def start(self, task: Task) -> Process:
        """Begin on a task."""

        def forget(draw: Draw) -> BatchLoss:
            return task.loss(lambda rows, _: simnpo(rows, self.beta, self.delta), draw, "examples")

        sides = Sides(forget, retain_loss(task, self.retain), gamma=self.gamma, alpha=self.alpha)
        return WeightedSum(task, sides, weight_decay=self.weight_decay, max_grad_norm=self.max_grad_norm)
