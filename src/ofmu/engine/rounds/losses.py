"""The two losses of a step, each on a batch of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ofmu.core.problem import Problem
from ofmu.engine.loss import BatchLoss, Draw, Reduction, Values
from ofmu.engine.task import Task
from ofmu.losses import nll


@dataclass(frozen=True)
class Pair:
    """L_f, to be raised, and L_r, to be lowered, on the batches drawn for one step."""

    forget: BatchLoss
    retain: BatchLoss


@dataclass(frozen=True)
class Losses:
    """Draws batches and puts the losses on them.

    Args:
        task: whose sets `forget` and `retain` are drawn from.
        forget: L_f of each example or token.
        per: what the mean of L_f is over.
        halves: evaluate each batch in two parts at least.
        curvature_share: share of each batch from which curvature is taken, 0 < s ≤ 1.
    """

    task: Task
    forget: Values
    per: Reduction
    halves: bool = False
    curvature_share: float = 1.0

    def draw(self) -> Pair:
        """The losses on the next two batches."""
        return Pair(
            self._loss(self.forget, self.task.draw("forget"), self.per),
            self._loss(lambda rows, _: nll(rows), self.task.draw("retain"), "tokens"),
        )

    def _loss(self, values: Values, draw: Draw, per: Reduction) -> BatchLoss:
        half = -(-len(draw.indices) // 2)
        return self.task.loss(values, draw, per, part_size=half if self.halves else None)

    def problem(self, pair: Pair) -> Problem:
        """What the core sees of them."""
        part = None if self.curvature_share == 1 else self._part(pair)
        return Problem(self.task.parameters, pair.forget, pair.retain, dict(self.task.model.named_buffers()), part)

    def _part(self, pair: Pair) -> Problem:
        """The same losses on the first examples of each batch."""

        def first(draw: Draw) -> Draw:
            return Draw(draw.data, draw.indices[: math.ceil(self.curvature_share * len(draw.indices))])

        forget = self._loss(self.forget, first(pair.forget.draw), self.per)
        retain = self._loss(lambda rows, _: nll(rows), first(pair.retain.draw), "tokens")
        return Problem(self.task.parameters, forget, retain, dict(self.task.model.named_buffers()))
