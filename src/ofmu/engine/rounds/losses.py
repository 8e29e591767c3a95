"""The two losses of a step, each on a batch of its own."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, replace

from ofmu.core.problem import Problem
from ofmu.core.vector import Vector
from ofmu.engine.loss import BatchLoss, Draw, Reduction, Values
from ofmu.engine.task import Task
from ofmu.losses import nll


@dataclass(frozen=True)
class Pair:
    """L_f, to be raised, and L_r, to be lowered, on the batches drawn for one step."""

    forget: BatchLoss
    retain: BatchLoss
    elsewhere: BatchLoss | None = None
    """L_f on the same batch where it is asked for at θ + δ, if it is another one there."""

    def at(self, delta: Vector | None) -> Pair:
        """The pair with the L_f of that place, which keeps what it saw there; None is θ itself."""
        if delta is None:
            return self
        return replace(self, forget=copy(self.forget) if self.elsewhere is None else self.elsewhere)


@dataclass(frozen=True)
class Losses:
    """Draws batches and puts the losses on them.

    Args:
        task: whose sets `forget` and `retain` are drawn from.
        forget: L_f of each example or token.
        per: what the mean of L_f is over.
        halves: evaluate each batch in two parts at least.
        curvature_share: share of each batch from which curvature is taken, 0 < s ≤ 1.
        elsewhere: L_f at θ + δ, if it is another one there.
    """

    task: Task
    forget: Values
    per: Reduction
    halves: bool = False
    curvature_share: float = 1.0
    elsewhere: Values | None = None

    def draw(self) -> Pair:
        """The losses on the next two batches."""
        forget, retain = self.task.draw("forget"), self.task.draw("retain")
        return Pair(
            self._loss(self.forget, forget, self.per),
            self._loss(lambda rows, _: nll(rows), retain, "tokens"),
            None if self.elsewhere is None else self._loss(self.elsewhere, forget, self.per),
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

        values = self.elsewhere if self.elsewhere is not None and pair.forget is pair.elsewhere else self.forget
        forget = self._loss(values, first(pair.forget.draw), self.per)
        retain = self._loss(lambda rows, _: nll(rows), first(pair.retain.draw), "tokens")
        return Problem(self.task.parameters, forget, retain, dict(self.task.model.named_buffers()))
