"""A loss that counts how often it is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from torch import Tensor

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

    def _metered(self, piece: Callable[[], Tensor], begins: bool) -> Callable[[], Tensor]:
        def metered() -> Tensor:
            self.evaluations += begins
            value = piece()
            if self.evaluations == self._first:
                self.value += number(value)
            return value

        return metered
