"""λ_eff as the steps of a round made it: preconditioners, momenta and trust regions change what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ofmu.core.vector import Vector
from ofmu.engine.rounds.conflict import Side
from ofmu.engine.rounds.sample import Sample
from ofmu.engine.task import Task


class Measured:
    """Watches the steps of one round.

        λ = Σ_t ⟨Δθ_t, w_t⟩/mean ‖w_t‖²  over  Σ ⟨Δθ, −∇F⟩/mean ‖∇F‖²

    Plain steps give λ_eff = T η_in/η_out (30) whatever the two gradients' sizes.

    Args:
        task: whose parameters move.
        sample: on which it is measured.
    """

    def __init__(self, task: Task, sample: Sample):
        self._task, self._sample = task, sample
        self._along: dict[Side, float] = {"forget": 0.0, "retain": 0.0}
        self._squares: dict[Side, list[float]] = {"forget": [], "retain": []}

    @contextmanager
    def step(self, side: Side, direction: Vector) -> Iterator[None]:
        """A step along ``direction`` (forget) or against it (retain) is taken inside."""
        before = self._sample.of(self._task.parameters)
        yield
        moved, d = self._sample.of(self._task.parameters) - before, self._sample.of(direction)
        along, square = self._sample.dots((moved, d), (d, d))
        self._along[side] += along if side == "forget" else -along
        self._squares[side].append(square)

    def lambda_eff(self) -> float | None:
        """The ratio; None where a side did not move along its gradient."""
        forget, retain = (self._rate(side) for side in ("forget", "retain"))
        return None if forget is None or not retain else forget / retain

    def _rate(self, side: Side) -> float | None:
        squares = self._squares[side]
        mean = sum(squares) / len(squares)
        return self._along[side] / mean if mean > 0 else None
