"""The outer step's ∇F = ∇L_r + 2ρ ∇²Φ ∇Φ, and the ρ of each round."""

from __future__ import annotations

from ofmu.core.derivatives import Derivatives
from ofmu.core.descent import Outer, outer
from ofmu.core.phi import Penalty
from ofmu.core.schedule import Constant, Geometric, Schedule
from ofmu.core.vector import Vector
from ofmu.engine.rounds.losses import Losses, Pair
from ofmu.engine.rounds.phi import Phi
from ofmu.engine.rounds.settings import Settings


class Descent:
    """∇F of the rounds of a run.

    Args:
        losses: whose problems are differentiated.
        phi: Φ, in the penalty.
        derivatives: how its curvature is computed.
        settings: ρ, its schedule, scale, cap and guard.
    """

    def __init__(self, losses: Losses, phi: Phi, derivatives: Derivatives, settings: Settings):
        self._losses, self._phi, self._derivatives, self._settings = losses, phi, derivatives, settings
        self._schedule = _schedule(settings)

    def gradient(self, pair: Pair, lr: float) -> Outer:
        """∇F at the current parameters.

        Args:
            pair: the losses.
            lr: η of the round, for the cap (31).
        """
        settings = self._settings
        rho = self._schedule.rho(self._losses.task.pace.step) if settings.penalises else 0.0
        penalty = Penalty(
            rho=rho,
            scale=settings.scale,
            guard=settings.guard,
            outer_lr=lr if settings.rho_cap and settings.optimiser == "sgd" else None,
        )
        with self._phi.counting_products(8.0 if rho > 0 else 0.0):
            found = outer(self._losses.problem(pair), self._phi.phi(), self._derivatives, penalty)
        if settings.holds_retain:
            self._phi.last_retain = retain_gradient(found)
        return found


def retain_gradient(found: Outer) -> Vector:
    """∇L_r, which every outer step computes."""
    return found.gradient if found.inner is None else found.inner.g_r


def _schedule(settings: Settings) -> Schedule:
    if settings.rho_growth == 1:
        return Constant(settings.rho)
    return Geometric(settings.rho, settings.rho_growth, settings.rho_max)
