"""The forget objectives of OFMU, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ofmu.engine.forward import Batch
from ofmu.engine.reference import sums_of
from ofmu.engine.task import Task
from ofmu.losses import Rows, Sides, level, nll, npo, removal
from ofmu.ranges import Range


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The forget loss F to be minimised; the paper's L_f, to be raised, is −F."""

    name: Literal["auto", "level", "nll", "npo", "removal"] | None = None
    """`level`: each example to the loss of unseen data; `removal`: whole classes to chance; `auto`: the one of these
    two that fits the data; `nll`: the paper's plain ascent; `npo`."""
    width: Annotated[float, Range(gt=0)] = 1.0
    """`level`: distance to the level, in nats, beyond which the pull no longer grows."""
    sides: Sides = "two"
    """`level`: `two`, or `one`: what is above its level is not called back."""
    beta: Annotated[float, Range(gt=0)] = 0.1
    """`npo`: the inverse temperature."""


def forget_objective(
    task: Task, options: Objective
) -> tuple[Callable[[Rows, Batch], Tensor], Literal["tokens", "examples"]]:
    """F of each example or token, and what its mean is over.

    Args:
        task: with the levels or the removed classes that the objective needs.
        options: which objective; ``auto`` takes ``removal`` where whole classes go, else ``level``.

    Returns:
        (rows, batch) → values to be minimised, and ``"tokens"`` or ``"examples"``.
    """
    name = options.name
    if name == "auto":
        name = "level" if task.removed is None else "removal"
    if name == "nll":
        return lambda rows, _: -nll(rows), "tokens"
    if name == "npo":
        reference = sums_of(task)
        return lambda rows, _: npo(rows, reference(rows), options.beta), "examples"
    if name == "removal":
        removed = task.removed
        assert removed is not None  # checked before the run begins
        chance = float(removed.double().mean())
        return lambda rows, _: removal(rows, removed.to(rows.logits.device), chance), "examples"
    levels = task.levels
    assert name == "level"
    assert levels is not None  # checked before the run begins

    def to_level(rows: Rows, _: Batch) -> Tensor:
        return level(rows, torch.tensor(levels.of(rows.ids), device=rows.logits.device), options.width, options.sides)

    return to_level, "examples"
