"""A loss that counts how often it is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from ofmu.core.gauss_newton import Split
from ofmu.core.problem import Loss, parts
from ofmu.core.vector import number


@final
class Metered:
    """A loss that counts its evaluations and keeps the value of each round's first one.

    Args:
        loss: a closure or a sequence of closures whose sum is the loss; one evaluation runs all of them.
    """

    def __init__(self, loss: Loss) -> None:
        self.evaluations = 0
        self.value = 0.0
        self._first = 0
        self.parts = [self._metered(piece, index == 0) for index, piece in enumerate(parts(loss))]

    def start_round(self) -> None:
        """The next evaluation is a round's first."""
        self._first = self.evaluations + 1
        self.value = 0.0

    def began(self, begins: bool) -> None:
        """Count an evaluation where its first part begins."""
        self.evaluations += begins

    def saw(self, value: Tensor) -> Tensor:
        """Keep a value of a round's first evaluation."""
        if self.evaluations == self._first:
            self.value += number(value)
        return value

    def _metered(self, piece: Callable[[], Tensor], begins: bool) -> Callable[[], Tensor]:
        if isinstance(piece, Split):
            return _MeteredSplit(self, piece, begins)

        def metered() -> Tensor:
            self.began(begins)
            return self.saw(piece())

        return metered


@final
class _MeteredSplit:
    """A part that shows its outputs; only those with a graph count as an evaluation."""

    def __init__(self, meter: Metered, piece: Split, begins: bool) -> None:
        self._meter, self._piece, self._begins = meter, piece, begins

    def __call__(self) -> Tensor:
        self._meter.began(self._begins)
        return self._meter.saw(self._piece())

    def outputs(self) -> Tensor:
        self._meter.began(self._begins and torch.is_grad_enabled())
        return self._piece.outputs()

    def criterion(self, outputs: Tensor) -> Tensor:
        return self._piece.criterion(outputs)
