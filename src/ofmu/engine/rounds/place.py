"""Where ∇Φ is evaluated: at θ, or at θ + δ, from which the parameters come back bit for bit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ofmu.core.ascent import Inner
from ofmu.core.vector import Vector
from ofmu.engine.checks import Check
from ofmu.engine.rounds.losses import Pair
from ofmu.engine.task import Task


class Place(ABC):
    """A rule for the point at which an inner step asks for ∇Φ."""

    gradients: float
    """Gradients that finding δ takes, for planning."""

    @abstractmethod
    def displacement(self, pair: Pair) -> Vector | None:
        """δ from the current θ; None for θ itself, which costs nothing.

        Args:
            pair: the losses of the step; more batches may be drawn, more gradients taken.
        """

    def saw(self, seen: Inner) -> None:  # noqa: B027 (most do not learn from it)
        """Take note of ∇Φ there, once it is known."""

    def observe(self, check: Check) -> None:  # noqa: B027 (most do not react)
        """Take note of a check."""

    def state_dict(self) -> dict[str, Any]:
        """What later points depend on; empty if nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (most remember nothing)
        """Go on from a checkpoint."""


@contextmanager
def visited(task: Task, delta: Vector | None) -> Iterator[None]:
    """The parameters at θ + δ inside, at θ again afterwards, from a copy and after exceptions too.

    Args:
        task: whose parameters are moved.
        delta: δ; None stays where it is and copies nothing.
    """
    if delta is None:
        yield
        return
    theta = Vector(task.parameters)
    origin = theta.clone()
    try:
        task.before_edit()
        theta.add_(delta)
        yield
    finally:
        task.before_edit()
        with torch.no_grad():
            for name, p in theta.items():
                p.copy_(origin[name])
