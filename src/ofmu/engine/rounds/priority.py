"""Whose progress is served first, round by round: the multipliers of (53), and the λ_eff that they ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from ofmu.core.priority import multiplier
from ofmu.core.vector import Vector, number
from ofmu.engine.checks import Check
from ofmu.errors import InputError

WORDS = ("none", "forget", "retain", "balanced")

_RISE: Final = re.compile(r"retain loss may rise by at most (\d+(?:\.\d*)?|\.\d+) ?(%|nats)?")
_PATH: Final = re.compile(r"from (\d+(?:\.\d*)?|\.\d+) to (\d+(?:\.\d*)?|\.\d+)")
_LEVEL: Final = re.compile(r"forget to (?:the holdout's level|a loss of (\d+(?:\.\d*)?|\.\d+)(?: nats)?)")

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
        r > 0:     λ = r ‖∇L_r‖/‖∇Φ‖   the two sides pull as r to 1; "from r to s": r^(1−t) s^t at a share t

    t is the share of the steps taken; `left` is the share of the way to the goal that is left (1 without a goal),
    `used` the share of the retain loss's band that is used up; a sentence names another goal or band: "forget to a
    loss of 3", "retain loss may rise by at most 2 %" (of what it was at the first check). Exact for plain steps; under
    a preconditioner the gradients stand for the steps.

    Args:
        wanted: as :func:`wanted` gives it; ``none`` is base.
        band: tolerated rise of the retain loss, as a share of its distance to chance level.
    """

    def __init__(self, wanted: str | float, band: float):
        self._wanted, self._target = _parsed(wanted)
        self._band = band
        self._left, self._used = 1.0, 0.0
        self._start: tuple[float, float] | None = None

    def observe(self, check: Check) -> None:
        """What a check saw of the goal and of the band."""
        self._start = self._start or (check.forget_loss, check.retain_loss)
        forget, retain = self._start
        if self._wanted == "forget" and self._target is not None:
            way = self._target.value - forget
            left = (self._target.value - check.forget_loss) / way if way > 0 else 0.0
            self._left = min(1.0, max(0.0, left))
        elif check.progress is not None:
            self._left = min(1.0, max(0.0, 1 - check.progress))
        if self._wanted == "retain" and self._target is not None:
            allowed = self._target.value * (retain if self._target.relative else 1.0)
            self._used = max(0.0, (check.retain_loss - retain) / max(allowed, 1e-12))
        else:
            self._used = max(0.0, check.retain_excess / self._band)

    def weight(self, base: float, w: Vector, g_r: Vector | None, elapsed: float = 0.0) -> Weight:
        """λ of an inner step.

        Args:
            base: λ_eff > 0 as it would be without priority.
            w: ∇Φ.
            g_r: ∇L_r, or that of the last outer step; None while none is known, and base is taken.
            elapsed: share t of the steps allowed that has been taken, in [0, 1].
        """
        if self._wanted == "none" or not g_r:
            return Weight(base)
        size, b = number(w.norm()), number(g_r.norm())
        if size == 0 or b == 0:
            return Weight(base)
        if isinstance(self._wanted, Ratio):
            return self._limited(base, self._wanted.after(elapsed) * b / size)
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
        """What the last check said, and the losses of the first."""
        return {"left": self._left, "used": self._used, "start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._left, self._used, self._start = state["left"], state["used"], state["start"]


@dataclass(frozen=True)
class Ratio:
    """How strongly forgetting pulls as a multiple of retention: at the start and at the last step, both > 0."""

    start: float
    end: float

    def after(self, elapsed: float) -> float:
        """r^(1−t) s^t after a share t of the steps: by the same factor in equal times.

        >>> [round(Ratio(4.0, 1.0).after(share), 3) for share in (0.0, 0.5, 1.0)]
        [4.0, 2.0, 1.0]
        """
        return self.start ** (1 - elapsed) * self.end**elapsed


@dataclass(frozen=True)
class _Target:
    """A forget loss to come to, or a tolerated rise of the retain loss: in nats, or as a share of the start."""

    value: float
    relative: bool = False


def wanted(priority: str | float) -> str | float:
    """A word, a sentence, or a ratio > 0 as a number.

    Raises:
        InputError: none of these.

    >>> wanted("forget"), wanted("0.5"), wanted("from 2 to .5"), wanted("retain loss may rise by at most 2 %")
    ('forget', 0.5, 'from 2 to .5', 'retain loss may rise by at most 2 %')
    """
    text = str(priority)
    if text in WORDS:
        return text
    sentence = _RISE.fullmatch(text) or _LEVEL.fullmatch(text)
    if sentence and (sentence[1] is None or float(sentence[1]) > 0):
        return text
    if (path := _PATH.fullmatch(text)) and min(map(float, path.groups())) > 0:
        return text
    try:
        ratio = float(priority)
    except ValueError:
        ratio = 0.0
    if not 0 < ratio < float("inf"):
        raise InputError(
            f"method.priority is {priority!r}, but must be one of {', '.join(WORDS)}, a number > 0, 'from 2 to 0.5', "
            "\"forget to the holdout's level\", 'forget to a loss of 3', 'retain loss may rise by at most 2 %' or "
            "'... at most 0.1 nats'"
        )
    return ratio


def _parsed(priority: str | float) -> tuple[str | Ratio, _Target | None]:
    """Whose progress comes first, and what a sentence names as its target."""
    if not isinstance(priority, str):
        return Ratio(priority, priority), None
    if path := _PATH.fullmatch(priority):
        return Ratio(float(path[1]), float(path[2])), None
    if rise := _RISE.fullmatch(priority):
        percent = rise[2] == "%"
        return "retain", _Target(float(rise[1]) / (100 if percent else 1), percent)
    if level := _LEVEL.fullmatch(priority):
        return "forget", None if level[1] is None else _Target(float(level[1]))
    return priority, None
