"""Where ∇Φ is evaluated: at θ, or at θ + δ, from which the parameters come back bit for bit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, final

import torch

from ofmu.core.ascent import finite_norm
from ofmu.core.derivatives import Derivatives
from ofmu.core.vector import Vector, number
from ofmu.engine.rounds.losses import Losses, Pair
from ofmu.engine.rounds.settings import Settings
from ofmu.engine.task import Task

Part = Literal["whole", "matrix"]
"""Of what a length is a share: all parameters as one vector, or each tensor."""


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

    def state_dict(self) -> dict[str, Any]:
        """What later points depend on; empty if nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (most remember nothing)
        """Go on from a checkpoint."""


@final
class Here(Place):
    """δ = 0: ∇Φ(θ), as in the paper."""

    gradients = 0.0

    def displacement(self, pair: Pair) -> None:
        """None."""


@final
class Sharp(Place):
    """Where a step of length r would remember most: ∇Φ is evaluated there, so that forgetting holds around θ (SAM).

        whole:   δ = −r ‖θ‖ g_f/‖g_f‖
        matrix:  δ_i = −r ‖θ_i‖ g_{f,i}/‖g_{f,i}‖ of each tensor

    Args:
        derivatives: for g_f at θ, one gradient more a step.
        radius: r > 0, a share of the model's own size.
        of: `whole` or `matrix`.

    Source: Foret et al. 2021 (arXiv 2010.01412); on forget losses Fan et al. 2025 (arXiv 2502.05374). **Differs**: the
    radius is relative, and the retain gradient of a similarity term is evaluated at the same point.
    """

    gradients = 1.0

    def __init__(self, derivatives: Derivatives, radius: float, of: Part):
        self._derivatives, self._radius, self._of = derivatives, radius, of

    def displacement(self, pair: Pair) -> Vector | None:
        """δ; zero where the gradient is."""
        g_f, theta = self._derivatives.gradient(pair.forget), Vector(self._derivatives.parameters)
        finite_norm(g_f, "forget")
        if self._of == "whole":
            return g_f.mul_(-self._radius * _ratio(theta, g_f))
        for name, g in g_f.items():
            one = Vector({name: g})
            one.mul_(-self._radius * _ratio(Vector({name: theta[name]}), one))
        return g_f


def _ratio(theta: Vector, gradient: Vector) -> float:
    """‖θ‖/‖g‖; 0 where g = 0."""
    length = number(gradient.norm())
    return number(theta.norm()) / length if length > 0 else 0.0


def place_of(settings: Settings, losses: Losses, derivatives: Derivatives) -> Place:
    """Where the inner steps of a run evaluate ∇Φ; `losses` is for places that need batches of their own."""
    if settings.sam_radius > 0:
        return Sharp(derivatives, settings.sam_radius, settings.sam_of)
    return Here()


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
