"""How far to move the parameters in a difference quotient: rule (20), and the lengths remembered from use.

Along a unit direction e, with ε_g the relative noise of one gradient evaluation and ℓ = ‖g‖/‖He‖ the length
over which the gradient renews itself, the best steps are

    forward h = 2ℓ√ε_g        central h = ℓ(3ε_g)^{1/3}        (20)

with expected relative errors of about 2√ε_g and ½(3ε_g)^{2/3}. ℓ comes from a rough quotient the first time
and, free of charge, from every quotient after that; ε_g is measured before the first one. Steps change only when
:meth:`Steps.refresh` is called: inside one nested quotient (18) all evaluations share them, or their changes would be
divided by a small h.

In a quotient of quotients (18) noise is divided by both steps: with xℓ inside and zℓ' outside, four gradients leave
2ε_g/(xz) forward and ε_g/(2xz) central, beside truncations of x/2 + z/2 and x²/6 + z²/6. Best inside are longer steps,

    forward h = ℓ(4ε_g)^{1/3}        central h = ℓ(3ε_g/2)^{1/4}        (61)

with errors of the order ε_g^{1/3} and ε_g^{1/2}, where those of (20) would leave ε_g^{1/4} and ε_g^{4/9}.
"""

from __future__ import annotations

import math
from typing import Any, Final, final

import torch

NOISE: Final[dict[torch.dtype, float]] = {
    torch.float64: 5e-16,
    torch.float32: 3e-7,
    torch.bfloat16: 1e-2,
}
"""ε_g: relative noise that a gradient computed in this dtype has at least (bfloat16: autocast over float32 masters)."""

FIRST_LENGTH: Final = 0.1
"""ℓ supposed before anything is known, as a share of ‖θ‖."""
LONGEST: Final = 3.0
"""ℓ is never taken to be longer than this many ‖θ‖: a loss that looks linear may not send θ far away."""
ULPS: Final = 32.0
"""A step moves a typical parameter by at least this many units in its last place: less would not be a move."""
SHORT: Final = 8.0
"""Steps below this many times the shortest one are measured after rounding. Of longer ones rounding takes less than
1/256 of a parameter's move, with either sign, so that their sum along the direction is the step that was asked for."""
SHARES: Final = {"forward": 0.6, "central": 0.6, "nested forward": 1.0, "nested central": 0.6}
"""Share of (20)'s step that is taken. A gradient bends over another length than the one over which it renews itself,
and (20) knows only the latter: on networks (perceptrons, transformers new and memorised, both dtypes) the best steps
were .2 to 3 times those of (20). Too long a step costs more than too short a one, least so where noise is large."""
FACTOR: Final = 10.0
"""The most by which a step changes from one refresh to the next: one odd batch does not spoil the next."""


@final
class Steps:
    """The step h of each named product, in units of a distance in parameter space.

    ``noise`` is ε_g, ``measured`` whether it has been measured, ``lengths`` the last ℓ of each product; ``inside`` are
    the steps of the quotients that are differenced, where another back-end makes them.

    Args:
        noise: the least ε_g that is believed in, in (0, 1).
        unit: unit roundoff of the parameters' dtype.
        central: whether quotients are central (17) or forward (16).
    """

    def __init__(self, noise: float, unit: float, *, central: bool) -> None:
        self.noise = noise
        self.unit = unit
        self.central = central
        self.measured = False
        self.inside: Steps = self
        self._guess: float | None = None
        self.lengths: dict[str, float] = {}
        self._used: dict[str, float] = {}
        self._wanted: dict[str, float] = {}

    def current(self, key: str) -> float | None:
        """The step h of a product in use, None before its first quotient."""
        return self._used.get(key)

    def first(self, size: float) -> float:
        """The step of the very first rough quotient, from ``size`` = ‖θ‖ alone."""
        return self.best(FIRST_LENGTH * size, size)

    def shortest(self, size: float) -> float:
        """The shortest step that moves parameters of norm ``size``."""
        return ULPS * self.unit * size

    def best(self, length: float, size: float, *, nested: float = 0.0, within: bool = False) -> float:
        """The step h by (20) or (61), kept between what moves the parameters at all and what would send them far away.

        Args:
            length: ℓ > 0, may be infinite.
            size: ‖θ‖ (1 for θ = 0).
            nested: share of the gradient that is itself made of quotients, whose error is its noise; 0 if none is.
            within: whether the quotient will itself be differenced.

        Returns:
            h > 0.
        """
        kind = ("nested " if nested > 0 else "") + ("central" if self.central else "forward")
        length = SHARES[kind] * min(length, LONGEST * size)
        if within:
            h = length * self._share_within()
        else:
            noise = self.inside.noise + nested * self.inside.noise_of_quotients() if nested > 0 else self.noise
            h = length * (3 * noise) ** (1 / 3) if self.central else 2 * length * math.sqrt(noise)
        return max(h, self.shortest(size))

    def is_short(self, h: float, size: float) -> bool:
        """Whether rounding of parameters of norm ``size`` could be felt in a step h."""
        return h < SHORT * self.shortest(size)

    def measure(self, noise: float, length: float) -> None:
        """Take ε_g as measured, where it is above what the arithmetic has at best, and a first ℓ."""
        self.noise, self.measured = max(self.noise, noise), True
        self._guess = length

    def guess(self, size: float) -> float:
        """ℓ of a product of which nothing is known: the shortest of the others', for a step too long is worse."""
        known = [*self.lengths.values(), *self.inside.lengths.values()]
        return min(known, default=self._guess or FIRST_LENGTH * size)

    def use(self, key: str, h: float) -> None:
        """Fix the step of a product from now on."""
        self._used[key] = h

    def want(self, key: str, h: float) -> None:
        """Propose a step, to be taken at the next :meth:`refresh`."""
        self._wanted[key] = h

    def refresh(self) -> None:
        """Take the steps proposed since the last time, within a factor of what was used."""
        for key, h in self._wanted.items():
            used = self._used.get(key, h)
            self._used[key] = min(max(h, used / FACTOR), used * FACTOR)
        self._wanted.clear()

    def state_dict(self) -> dict[str, Any]:
        """Everything that later quotients depend on, as plain numbers."""
        known = {"noise": self.noise, "measured": self.measured, "guess": self._guess, "lengths": dict(self.lengths)}
        return {"used": dict(self._used), "wanted": dict(self._wanted), **known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self._used, self._wanted = dict(state["used"]), dict(state["wanted"])
        self.noise, self.measured, self._guess = state["noise"], state["measured"], state["guess"]
        self.lengths = dict(state["lengths"])

    def _share_within(self) -> float:
        """h/ℓ of (61)."""
        return (1.5 * self.noise) ** (1 / 4) if self.central else (4 * self.noise) ** (1 / 3)

    def noise_of_quotients(self) -> float:
        """Of a quotient that is differenced again, the part of its error that is noise, relative.

        The rest, truncation, is as smooth as the gradient itself.
        """
        return self.noise / self._share_within() * (math.sqrt(1 / 2) if self.central else math.sqrt(2))
