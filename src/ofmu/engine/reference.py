"""The forget examples' losses before unlearning: one number each, computed once, so that no second model is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofmu.losses.rows import Rows

if TYPE_CHECKING:
    from ofmu.engine.task import Task


def sums_of(task: Task) -> Callable[[Rows], Tensor]:
    """S_i⁰ of the examples of some rows.

    They are measured with the task's own model before its first step, whatever it is then: a full model, a model
    with a fresh adapter (which changes nothing yet) or an adapted model.

    Args:
        task: at its start, or resumed with a cache that holds the numbers.

    Returns:
        rows of B forget examples → (B,), token sums of the loss, in nats.
    """
    if task.reference_sums is None:
        raise RuntimeError("this task has no reference losses")
    held = task.reference_sums()

    def sums(rows: Rows) -> Tensor:
        return torch.tensor([held[i] for i in rows.ids], dtype=rows.logits.dtype, device=rows.logits.device)

    return sums
