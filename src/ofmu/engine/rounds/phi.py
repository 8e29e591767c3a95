"""∇Φ of a pair of batches: the forget gradient, and the similarity term where it has a say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ofmu.core import phi as core
from ofmu.core.ascent import Inner, finite_norm, inner
from ofmu.core.derivatives import Derivatives
from ofmu.core.similarity import Cosine, Similarity, SquaredHinge
from ofmu.core.similarity import make as make_similarity
from ofmu.core.vector import Vector
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
        self._similarity = _similarity(settings) if settings.decorrelates else None
        self._scale = 0.0  # the largest ‖∇L_f‖ of the run so far, for the ε of (9)
        self._epsilon_of: float | None = None
        self._held: float | None = None  # β of the round, once a step has found it
        self.last_retain: Vector | None = None
        """∇L_r of the last outer step, where conflict is looked for against that."""

    def begin_round(self) -> None:
        """β and ε may be found anew; they are held until the next round begins, so that Φ is a function (50)."""
        self._held = None
        self._epsilon_of = self._scale if self._settings.scale == "relative" and self._scale > 0 else None

    def gradient(self, pair: Pair) -> Inner:
        """∇Φ at the current parameters; the retain gradient is computed only where it can have a say."""
        if self._settings.step == "projected":
            return self._plain(self._derivatives.gradient(pair.forget), self._derivatives.gradient(pair.retain))
        if self._similarity is None:
            return self._plain(self._derivatives.gradient(pair.forget), Vector())
        if self._settings.looks_before and self.last_retain is not None:
            g_f = self._derivatives.gradient(pair.forget)
            if not self._similarity.slope(g_f, self.last_retain).active:
                return self._plain(g_f, self.last_retain)
        with self.counting_products(2.0):
            seen = inner(self._losses.problem(pair), self.phi(), self._derivatives)
        self._scale = max(self._scale, seen.a)
        if seen.active:
            self._held = seen.beta
        return seen

    def phi(self) -> core.Phi:
        """Φ as the core takes it, β and ε as they stand in the round."""
        relative = self._settings.scale == "relative"
        held = self._held is not None
        own = self._settings.beta if self._similarity is not None else 0.0
        return core.Phi(
            beta=own if self._held is None else self._held,
            similarity=self._similarity or Cosine(),
            scale="raw" if held else self._settings.scale,
            reference_scale=self._epsilon_of,
            trust=1.0 if relative else None,
        )

    def _plain(self, g_f: Vector, g_r: Vector) -> Inner:
        """∇Φ = g_f: no similarity term, or one that is inactive."""
        a = finite_norm(g_f, "forget")
        self._scale = max(self._scale, a)
        b = finite_norm(g_r, "retain") if g_r else 0.0
        c = g_f.dot(g_r).item() / (a * b) if a * b > TINY else 0.0
        return Inner(g_f, g_f, g_r, a, b, c, 0.0, 0.0, False)

    @contextmanager
    def counting_products(self, factor: float) -> Iterator[None]:
        """Exact products cost what no closure sees: `factor` times the gradients inside (6 and 18 in all)."""
        meter = self._losses.task.meter
        before = meter.gradient_examples
        yield
        if self._settings.derivatives == "exact" and self._similarity is not None:
            meter.extra_gradients += factor * (meter.gradient_examples - before) / meter.batch_size

    def state_dict(self) -> dict[str, Any]:
        """The scale of ε and the last retain gradient (taken between rounds)."""
        last = self.last_retain
        return {"scale": self._scale, "last_retain": None if last is None else dict(last)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        last = state["last_retain"]
        self._scale, self.last_retain = state["scale"], None if last is None else Vector(last)


def _similarity(settings: Settings) -> Similarity:
    if settings.similarity == "squared_hinge":
        return SquaredHinge(settings.margin)
    return make_similarity(settings.similarity)
