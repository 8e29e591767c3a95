"""Whose progress is served first, round by round: the multipliers of (53), and the λ_eff that they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ofmu.core.priority import multiplier
from ofmu.core.vector import Vector, number
from ofmu.engine.checks import Check
from ofmu.errors import InputError

WORDS = ("none", "forget", "retain", "balanced")

LIMIT = 8.0
"""λ_eff never rises above its base times this."""


@dataclass(frozen=True)
class Weight:
    """What an inner step goes by.

    Args:
        lambda_eff: λ of the step.
        forget: μ, the least λ at which the outer step cannot undo the rate demanded of forgetting; None if not asked.
        retain: ν, 1/λ of the largest λ at which the retain loss keeps the rate demanded of it; None if not asked.
    """

    lambda_eff: float
    forget: float | None = None
    retain: float | None = None


class Priority:
    """λ of each inner step from a base, the gradients and the last check.

        forget:    λ = μ,              at least ⟨−d, ∇Φ⟩ ≥ τ for d = ∇L_r − μ∇Φ,   τ = base · left · ‖∇Φ‖²   (53)
        retain:    λ = min(base, 1/ν)  the same with the sides exchanged,            τ = used/base · ‖∇L_r‖²
        balanced:  λ = base, held between μ and 1/ν at τ = 0: no side loses, to first order
        r > 0:     λ = r ‖∇L_r‖/‖∇Φ‖   the two sides pull as r to 1

    `left` is the share of the way to the goal that is left (1 without a goal), `used` the share of the retain loss's
    band that is used up. Exact for plain steps; under a preconditioner the gradients stand for the steps.

    Args:
        wanted: a word of :data:`WORDS`, or r; ``none`` is base.
        band: tolerated rise of the retain loss, as a share of its distance to chance level.
    """

    def __init__(self, wanted: str | float, band: float):
        self._wanted, self._band = wanted, band
        self._left, self._used = 1.0, 0.0

    def observe(self, check: Check) -> None:
        """What a check saw of the goal and of the band."""
        if check.progress is not None:
            self._left = min(1.0, max(0.0, 1 - check.progress))
        self._used = max(0.0, check.retain_excess / self._band)

    def weight(self, base: float, w: Vector, g_r: Vector | None) -> Weight:
        """λ of an inner step.

        Args:
            base: λ_eff > 0 as it would be without priority.
            w: ∇Φ.
            g_r: ∇L_r, or that of the last outer step; None while none is known, and base is taken.
        """
        if self._wanted == "none" or not g_r:
            return Weight(base)
        size, b = number(w.norm()), number(g_r.norm())
        if size == 0 or b == 0:
            return Weight(base)
        if isinstance(self._wanted, float):
            return self._limited(base, self._wanted * b / size)
        served = self._wanted != "balanced"
        mu = nu = None
        if self._wanted in ("forget", "balanced"):
            mu = multiplier(g_r, w, base * self._left * size**2 * served)
        if self._wanted in ("retain", "balanced"):
            nu = multiplier(w, g_r, self._used / base * b**2 * served)
        if self._wanted == "forget":
            return self._limited(base, mu or 0.0, mu, nu)
        least = 0.0 if mu is None else mu
        most = base if not nu else 1 / nu
        return self._limited(base, min(max(base, least), most) if nu else max(base, least), mu, nu)

    @staticmethod
    def _limited(base: float, found: float, mu: float | None = None, nu: float | None = None) -> Weight:
        return Weight(min(found, LIMIT * base), mu, nu)

    def state_dict(self) -> dict[str, Any]:
        """What the last check said."""
        return {"left": self._left, "used": self._used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._left, self._used = state["left"], state["used"]


def wanted(priority: str | float) -> str | float:
    """A word, or a ratio > 0 as a number.

    Raises:
        InputError: neither.

    >>> wanted("forget"), wanted("0.5")
    ('forget', 0.5)
    """
    if priority in WORDS:
        return priority
    try:
        ratio = float(priority)
    except ValueError:
        ratio = 0.0
    if not 0 < ratio < float("inf"):
        raise InputError(f"method.priority is {priority!r}, but must be one of {', '.join(WORDS)}, or a number > 0")
    return ratio
