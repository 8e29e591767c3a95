"""The places at which inner steps ask for ∇Φ, by the options of a run."""

from __future__ import annotations

from typing import Literal, final

from ofmu.core.ascent import finite_norm
from ofmu.core.derivatives import Derivatives
from ofmu.core.vector import Vector, number
from ofmu.engine.rounds.adversary import Relearned
from ofmu.engine.rounds.losses import Losses, Pair
from ofmu.engine.rounds.place import Place
from ofmu.engine.rounds.settings import Settings

Part = Literal["whole", "matrix"]
"""Of what a length is a share: all parameters as one vector, or each tensor."""


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
    if settings.adversary_steps > 0:
        return Relearned(losses.task, settings.adversary_steps, settings.adversary_rate)
    return Here()
