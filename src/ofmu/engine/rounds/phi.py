"""∇Φ of a pair of batches: the forget gradient, and the similarity term where it has a say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ofmu.core import phi as core
from ofmu.core.ascent import Inner, finite_norm, inner
from ofmu.core.derivatives import Derivatives
from ofmu.core.similarity import Similarity, make
from ofmu.core.vector import Vector
from ofmu.engine.rounds import cost
from ofmu.engine.rounds.losses import Losses, Pair
from ofmu.engine.rounds.settings import Settings
from ofmu.engine.weighted_sum import TINY


class Phi:
    """Φ = L_f − β·Sim(∇L_f, ∇L_r), and what is known of it from earlier steps.

    Args:
        losses: whose problems are differentiated.
        derivatives: how.
        settings: similarity, β and its scale.
    """

    def __init__(self, losses: Losses, derivatives: Derivatives, settings: Settings):
        self._losses, self._derivatives, self._settings = losses, derivatives, settings
        self._similarity = similarity_of(settings) if settings.decorrelates else None
        self._scale = 0.0  # the largest ‖∇L_f‖ of the run so far, for the ε of (9)
        self._epsilon_of: float | None = None
        self._held: float | None = None  # β of the round, once a step has found it
        self._fresh: Inner | None = None  # whose similarity term may be used again (C5)
        self._step = 0  # inner steps of the round so far
        self.last_retain: Vector | None = None
        """∇L_r of the last outer step, where one is kept."""

    def begin_round(self) -> None:
        """β and ε may be found anew; they are held until the next round begins, so that Φ is a function (50)."""
        self._held, self._fresh, self._step = None, None, 0
        self._epsilon_of = self._scale if self._settings.scale == "relative" and self._scale > 0 else None

    def gradient(self, pair: Pair) -> Inner:
        """∇Φ at the current parameters, for the next inner step of the round."""
        due = cost.is_due(self._settings, self._step)
        held, self._fresh = None if due else self._fresh, None
        self._step += 1
        last = self._step == self._settings.inner_steps
        seen = self._at(pair, held, last)
        if not last and not cost.is_due(self._settings, self._step):
            self._fresh = seen if held is None else held
        self._scale = max(self._scale, seen.a)
        return seen

    def _at(self, pair: Pair, held: Inner | None, last: bool) -> Inner:
        """∇Φ; the retain gradient is computed only where it can have a say, and let go where it can have none more."""
        if self._settings.step == "projected":
            return _plain(self._derivatives.gradient(pair.forget), self._derivatives.gradient(pair.retain))
        if self._similarity is None:
            return _plain(self._derivatives.gradient(pair.forget), Vector())
        if held is not None and not held.active:
            return _plain(self._derivatives.gradient(pair.forget), held.g_r)
        g_f = None
        if held is None and self._settings.looks_before and self.last_retain is not None:
            g_f = self._derivatives.gradient(pair.forget)
            if not self._similarity.slope(g_f, self.last_retain).active:
                return _plain(g_f, self.last_retain)
            if last and self._settings.retain_direction == "last":
                self.last_retain = None  # the outer step finds another
        meter = self._losses.task.meter
        before = meter.gradients
        seen = inner(
            self._losses.problem(pair),
            self.phi(),
            self._derivatives,
            held=held,
            forget=g_f,
            retain=self.retain_taken_as_constant,
            lean=self._settings.priority == "none" and self._settings.refresh_every == 1,
        )
        if held is None:
            meter.extra_gradients += cost.exact_products(self._settings, seen.active, meter.gradients - before)
        if seen.active:
            self._held = seen.beta
        return seen

    @property
    def retain_taken_as_constant(self) -> Vector | None:
        """The last outer step's ∇L_r, where that stands for the step's own in the similarity term."""
        held = self._settings.retain_direction == "held" and self._similarity is not None
        return self.last_retain if held else None

    def end_ascent(self) -> None:
        """The inner steps of the round are taken."""
        if self._settings.retain_direction != "held":
            self.last_retain = None  # the outer step finds another

    def phi(self) -> core.Phi:
        """Φ as the core takes it, β and ε as they stand in the round."""
        settings = self._settings
        own = settings.beta if self._similarity is not None else 0.0
        return core.Phi(
            beta=own if self._held is None else self._held,
            similarity=self._similarity or "cosine",
            scale=settings.scale if self._held is None else "raw",
            reference_scale=self._epsilon_of,
            trust=1.0 if settings.scale == "relative" else None,
            retain_curvature=settings.retain_curvature,
        )

    def as_in(self, step: Inner) -> core.Phi:
        """The same function that an inner step ascended: without a similarity term if that was inactive."""
        return self.phi() if step.active else replace(self.phi(), beta=0.0, scale="raw")

    def state_dict(self) -> dict[str, Any]:
        """The scale of ε and the last retain gradient (taken between rounds)."""
        last = self.last_retain
        return {"scale": self._scale, "last_retain": None if last is None else dict(last)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        last = state["last_retain"]
        self._scale, self.last_retain = state["scale"], None if last is None else Vector(last)


def similarity_of(settings: Settings) -> Similarity:
    """The similarity that the options describe.

    Raises:
        InputError: there is none of that name.
    """
    return make(
        settings.similarity,
        blocks=settings.blocks,
        weights=settings.block_weights,
        margin=settings.margin,
        temperature=settings.temperature,
        smoothing=settings.smoothing,
    )


def _plain(g_f: Vector, g_r: Vector) -> Inner:
    """∇Φ = g_f: no similarity term, or one that is inactive."""
    a = finite_norm(g_f, "forget")
    b = finite_norm(g_r, "retain") if g_r else 0.0
    c = g_f.dot(g_r).item() / (a * b) if a * b > TINY else 0.0
    return Inner(g_f, g_f, g_r, a, b, c, 0.0, 0.0, False)
