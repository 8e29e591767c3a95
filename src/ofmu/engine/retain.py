"""The retain losses that methods choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from ofmu.engine.forward import Batch
from ofmu.engine.loss import BatchLoss, Draw
from ofmu.losses import Rows, kl, nll

if TYPE_CHECKING:
    from ofmu.engine.task import Task

RetainLoss = Literal["nll", "kl"]


def retain_loss(task: Task, kind: RetainLoss) -> Callable[[Draw], BatchLoss]:
    """R of a drawn retain batch.

    Args:
        task: whose model is to keep its abilities.
        kind: `nll`, the mean token loss; `kl`, KL(p_0‖p_θ) at the scored tokens.
    """

    def values(rows: Rows, batch: Batch) -> Tensor:
        return nll(rows) if kind == "nll" else kl(rows, task.reference_logits(batch))

    return lambda draw: task.loss(values, draw, "tokens")
