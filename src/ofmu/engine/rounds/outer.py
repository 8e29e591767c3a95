"""The outer step's ∇F = ∇L_r + 2ρ ∇²Φ ∇Φ, and the ρ of each round."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ofmu.core.adaptive import Adaptive
from ofmu.core.ascent import Inner
from ofmu.core.caps import undo_cap
from ofmu.core.curvature import Secant
from ofmu.core.derivatives import Derivatives
from ofmu.core.descent import Outer, outer
from ofmu.core.multipliers import Multipliers
from ofmu.core.phi import Penalty
from ofmu.core.schedule import Constant, Geometric, Polynomial, Schedule, Seen
from ofmu.core.vector import Vector, number
from ofmu.engine.rounds import cost
from ofmu.engine.rounds.losses import Losses, Pair
from ofmu.engine.rounds.phi import Phi
from ofmu.engine.rounds.settings import Settings


class Descent:
    """∇F of the rounds of a run.

    Args:
        losses: whose problems are differentiated.
        phi: Φ, in the penalty.
        derivatives: how ∇Φ is computed.
        settings: ρ, its schedule, scale, caps and guard, and how the penalty's curvature is computed.
    """

    def __init__(self, losses: Losses, phi: Phi, derivatives: Derivatives, settings: Settings):
        self._losses, self._phi, self._derivatives, self._settings = losses, phi, derivatives, settings
        self._schedule = _schedule(settings)
        other = settings.penalty_derivatives in ("finite_difference", "central")
        self._along = losses.task.derivatives(settings.penalty_derivatives) if other else None
        augmented = settings.penalises and settings.rho_schedule == "augmented_lagrangian"
        self._multipliers = Multipliers() if augmented else None
        self._last_rho = 0.0  # absolute, for the multipliers

    def begin_round(self) -> float:
        """The factor on both step sizes that goes with a ρ that has grown (33); 1 unless asked for."""
        rho = self._rho()
        return self._settings.rho / rho if self._settings.rho_matched and rho > 0 else 1.0

    def renew_multipliers(self, seen: Inner) -> None:
        """ν ← ν + 2ρ ∇Φ (57), with ∇Φ where the last outer step ended: at the first inner step of a round."""
        if self._multipliers is not None:
            self._multipliers.update(seen.gradient, self._last_rho)

    def gradient(self, pair: Pair, lr: float, weight: float, step: tuple[Inner, float]) -> Outer:
        """∇F at the current parameters.

        Args:
            pair: the losses.
            lr: η of the round, for the caps (31), (32).
            weight: λ_eff of the round, for (32).
            step: the last inner step on the same pair and its η_in, for the secant (22).
        """
        settings, task = self._settings, self._losses.task
        secant = Secant(*step) if settings.secant else None
        second = self._losses.draw() if settings.penalises and settings.penalty_batches == 2 else None
        before = task.meter.gradients
        found = outer(
            self._losses.problem(pair),
            self._phi.phi() if secant is None else self._phi.as_in(step[0]),
            self._derivatives,
            self._penalty(lr, weight),
            secant=secant,
            second=None if second is None else self._losses.problem(second),
            retain=self._phi.retain_taken_as_constant,
            lean=not self._watches_forgetting,
        )
        self._count(found, task.meter.gradients - before)
        if settings.holds_retain:
            self._phi.last_retain = retain_gradient(found)
        return found

    def learn(self, norm: float, found: Outer, lr: float) -> None:
        """Tell the schedule of the round, which began with ‖∇Φ‖ = ``norm``."""
        self._last_rho = found.rho
        change = 0.0
        if found.inner is not None and self._watches_forgetting:
            change = -lr * number(found.gradient.dot(found.inner.g_f))
        self._schedule.observe(Seen(norm, found.kappa, change))

    @property
    def _watches_forgetting(self) -> bool:
        """Whether the schedule goes by how far an outer step undid forgetting."""
        return isinstance(self._schedule, Adaptive)

    def _rho(self) -> float:
        return self._schedule.rho(self._losses.task.pace.step) if self._settings.penalises else 0.0

    def _penalty(self, lr: float, weight: float) -> Penalty:
        settings = self._settings
        cap: Callable[[float], float] | None = None
        if settings.undo_cap:
            cap = partial(undo_cap, lr * weight / settings.inner_steps, settings.inner_steps, lr)
        return Penalty(
            rho=self._rho(),
            scale=settings.scale,
            guard=settings.guard,
            outer_lr=lr if settings.rho_cap else None,
            cap=cap,
            multiplier=None if self._multipliers is None else self._multipliers.value,
            derivatives=self._along,
        )

    def _count(self, found: Outer, counted: float) -> None:
        """Exact products cost what no closure sees."""
        if found.inner is None:
            return
        settings, meter = self._settings, self._losses.task.meter
        apart = 1.0 if self._phi.retain_taken_as_constant is not None else 0.0  # the descent's own ∇L_r
        active = found.inner.active
        meter.extra_gradients += cost.exact_products(settings, active, counted - apart)
        meter.extra_gradients += cost.exact_curvature(settings, active, counted - apart)

    def state_dict(self) -> dict[str, Any]:
        """Of the schedule, the multipliers and a back-end of its own."""
        return {
            "schedule": self._schedule.state_dict(),
            "multipliers": {} if self._multipliers is None else self._multipliers.state_dict(),
            "along": {} if self._along is None else self._along.state_dict(),
            "last_rho": self._last_rho,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._schedule.load_state_dict(state["schedule"])
        if self._multipliers is not None:
            self._multipliers.load_state_dict(state["multipliers"])
        if self._along is not None:
            self._along.load_state_dict(state["along"])
        self._last_rho = state["last_rho"]


def retain_gradient(found: Outer) -> Vector:
    """∇L_r, which every outer step computes."""
    return found.gradient if found.inner is None else found.inner.g_r


def _schedule(settings: Settings) -> Schedule:
    """The rule for ρ; the multipliers do the work of a growing one."""
    start, largest = settings.rho, settings.rho_max
    if settings.rho_schedule == "polynomial":
        return Polynomial(start, settings.rho_power, largest)
    if settings.rho_schedule == "adaptive":
        return Adaptive(start, settings.rho_growth, largest=largest)
    if settings.rho_schedule == "geometric" and settings.rho_growth > 1:
        return Geometric(start, settings.rho_growth, largest)
    return Constant(start)
