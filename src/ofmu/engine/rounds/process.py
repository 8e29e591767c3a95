"""Algorithm 1 under way: rounds of T inner steps and the outer steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ofmu.core.ascent import Inner, only
from ofmu.core.descent import Outer
from ofmu.core.vector import Vector, number
from ofmu.engine.balance import Balance
from ofmu.engine.checks import Check
from ofmu.engine.method import Process, StepRecord
from ofmu.engine.optimiser import TwoSided
from ofmu.engine.rounds.conflict import conflict_of
from ofmu.engine.rounds.losses import Losses, Pair
from ofmu.engine.rounds.measured import Measured
from ofmu.engine.rounds.outer import Descent, retain_gradient
from ofmu.engine.rounds.phi import Phi
from ofmu.engine.rounds.place import visited
from ofmu.engine.rounds.places import place_of
from ofmu.engine.rounds.priority import Priority, Weight
from ofmu.engine.rounds.record import record
from ofmu.engine.rounds.sample import Sample
from ofmu.engine.rounds.settings import Settings
from ofmu.engine.rounds.shapings import shapings_of
from ofmu.engine.rounds.trust import Region


@dataclass(frozen=True)
class _Ascent:
    """An inner step that was taken."""

    pair: Pair
    """At θ, as the outer step needs it."""
    seen_of: Pair
    """What ∇Φ was taken of: the same, or the pair at θ + δ."""
    displacement: float | None
    """‖δ‖; None at θ."""
    seen: Inner
    """∇Φ; of its vectors only those that later steps of the round need."""
    norm: float
    """‖∇Φ‖."""
    weight: Weight


class Rounds(Process):
    """One step is one round.

    inner, t = 1 … T:  θ ← θ + (λ_eff η/T) P ∇Φ
    outer:             θ ← θ − η P ∇F

    Args:
        losses: L_f and L_r.
        settings: everything else.
    """

    def __init__(self, losses: Losses, settings: Settings):
        self._losses, self._settings = losses, settings
        self._task = losses.task
        self._derivatives = self._task.derivatives(settings.derivatives)
        self._place = place_of(settings, losses, self._derivatives)
        self._phi = Phi(losses, self._derivatives, settings)
        self._shapings = shapings_of(settings)
        self._optimiser = TwoSided(self._task.parameters, kind=settings.optimiser, states=settings.optimiser_states)
        self._descent = Descent(losses, self._phi, self._derivatives, settings)
        self._balance = Balance(settings.lambda_eff, settings.retain_band, settings.band_opening)
        self._priority = Priority(settings.priority, settings.retain_band)
        self._sample = Sample(self._task)
        self._conflict = conflict_of(settings.debias, self._sample, self._task)

    def step(self) -> StepRecord:
        """One round; the last inner step and the first outer one share their batches."""
        settings = self._settings
        begun = self._begin_round()
        lr = self._task.pace.now() * self._descent.begin_round()

        first = step = self._inner_step(lr, 0)
        for t in range(1, settings.inner_steps):
            step = self._inner_step(lr, t)
        self._phi.end_ascent()

        descent = self._outer_step(step.pair, lr, step, begun if settings.base == "anchored" else None)
        for _ in range(settings.outer_steps - 1):
            descent = self._outer_step(self._losses.draw(), lr, step)
        self._descent.learn(first.norm, descent, lr)

        return record(
            step.seen_of,
            step.seen,
            descent,
            step.weight,
            norm_phi=step.norm,
            measured=self._measured.lambda_eff(),
            debiased=self._conflict.cosine(),
            kept=begun.keep() if begun is not None else None,
            displacement=step.displacement,
        )

    def _begin_round(self) -> Region | None:
        self._phi.begin_round()
        self._measured = Measured(self._task, self._sample)
        settings = self._settings
        if settings.trust_region == 0 and settings.base == "sequential":
            return None
        return Region(self._task, settings.trust_region or None, settings.trust_of)

    def _inner_step(self, lr: float, t: int) -> _Ascent:
        """θ ← θ + (λ_eff η/T) P ∇Φ on fresh batches, step t = 0 … T − 1."""
        pair = self._losses.draw()
        delta = self._place.displacement(pair)
        displacement = None if delta is None else number(delta.norm())  # a lesson goes on from δ, in place
        seen_of = pair.at(delta)
        seen = self._direction(seen_of, delta)
        retain = seen.g_r or self._phi.last_retain
        weight = self._priority.weight(self._balance.weight, seen.gradient, retain, self._elapsed())
        self._task.before_edit()
        with self._measured.step("forget", seen.gradient):
            self._optimiser.ascend(seen.gradient, lr, weight.lambda_eff, 1 / self._settings.inner_steps)
        if t == 0:
            self._descent.renew_multipliers(seen)
        norm = number(seen.gradient.norm())
        return _Ascent(pair, seen_of, displacement, self._kept(seen, t), norm, weight)

    def _kept(self, seen: Inner, t: int) -> Inner:
        """Of the last step ∇Φ for the secant, and g_f if the outer step's gradient is the first to compare it with."""
        settings = self._settings
        last = t == settings.inner_steps - 1
        return only(seen, gradient=last and settings.secant, forget=last and not settings.compares)

    def _direction(self, pair: Pair, delta: Vector | None) -> Inner:
        """∇Φ at θ + δ, shaped for the step."""
        with visited(self._task, delta):
            self._conflict.watch("forget", pair)
            seen = self._phi.gradient(pair)
        self._place.saw(seen)
        self._conflict.see("forget", seen.g_f)
        for shaping in self._shapings:
            seen = shaping.shaped(seen)
        return seen

    def _outer_step(self, pair: Pair, lr: float, step: _Ascent, anchor: Region | None = None) -> Outer:
        """θ ← θ − η P ∇F, from the anchor if there is one; the outer steps of a round share one step size."""
        self._conflict.watch("retain", pair)
        weight = step.weight.lambda_eff
        inner_lr = lr * weight / self._settings.inner_steps
        descent = self._descent.gradient(pair, lr, weight, (step.seen, inner_lr))
        self._conflict.see("retain", retain_gradient(descent))
        if anchor is not None:
            anchor.back()
        self._task.before_edit()
        with self._measured.step("retain", descent.gradient):
            self._optimiser.descend(descent.gradient, lr / self._settings.outer_steps)
        return descent

    def observe(self, check: Check) -> None:
        """Let the place react, and the balance or, in its stead, the priority."""
        settings = self._settings
        self._place.observe(check)
        self._priority.observe(check)
        if settings.balance == "adaptive" and settings.priority == "none" and not self._task.pace.reached:
            self._balance.observe(check, self._elapsed())

    def _elapsed(self) -> float:
        """Share of the steps allowed that has been taken, in [0, 1]."""
        return min(1.0, self._task.pace.step / self._task.pace.steps)

    def state_dict(self) -> dict[str, Any]:
        """Moments, balance, remembered step lengths and norms."""
        return {
            "optimiser": self._optimiser.state_dict(),
            "balance": self._balance.state_dict(),
            "priority": self._priority.state_dict(),
            "derivatives": self._derivatives.state_dict(),
            **self._phi.state_dict(),
            "descent": self._descent.state_dict(),
            "place": self._place.state_dict(),
            "shapings": [shaping.state_dict() for shaping in self._shapings],
            "conflict": self._conflict.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._balance.load_state_dict(state["balance"])
        self._priority.load_state_dict(state["priority"])
        self._derivatives.load_state_dict(state["derivatives"])
        self._phi.load_state_dict(state)
        self._descent.load_state_dict(state["descent"])
        self._place.load_state_dict(state["place"])
        for shaping, held in zip(self._shapings, state["shapings"], strict=True):
            shaping.load_state_dict(held)
        self._conflict.load_state_dict(state["conflict"])
