"""The optimiser that knows ascent from descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ofmu.core.vector import Vector
from ofmu.engine.preconditioners import Adam, Plain, Preconditioner, Sign, States, Torch
from ofmu.errors import InputError


class TwoSided:
    """Steps of two kinds on the same parameters: ascent (forget) and descent (retain).

        ascent:  θ ← θ + η λ/T P m̂_w        descent:  θ ← θ − η P m̂_g

    - `adamw`: Adam's P = 1/(√v̂ + ε) with v of both sides of a round, (g_r + 2ρy)² + mean_t (λw_t)² (`one`), so that
      the ratio of the two displacements is λ_eff (30) as under plain gradient steps; or each side normalised by its
      own v (`two`), where the ratio is set by the step sizes alone. First moments are always kept apart: a shared
      momentum would mix the signs of ascent and descent. The square of the combined gradient would not do for v: where
      its parts cancel, each of them would be divided by next to nothing. No weight decay.
    - `sgd`: P = 1, no moments.
    - `sign`: P d = sign(d), no moments.
    - a class of ``torch.optim`` as torch spells it (`RMSprop`): an optimiser of its own for each side, at torch's
      settings but for the step size. It needs `two`: one state would mix the signs of both sides.

    Args:
        parameters: the trained parameters, changed in place.
        kind: as above.
        states: `one` or `two`; `sgd` and `sign` have none and take either.
        betas: decay of the first and second moments of `adamw`.
        eps: ε > 0 of `adamw`.

    Raises:
        InputError: no such kind, or a kind that cannot share its state.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        kind: str = "adamw",
        states: States = "one",
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ):
        self._rule: Preconditioner
        if kind == "adamw":
            self._rule = Adam(parameters, states, betas, eps)
        elif kind == "sgd":
            self._rule = Plain(parameters)
        elif kind == "sign":
            self._rule = Sign(parameters)
        else:
            self._rule = Torch(parameters, kind)
            if states == "one":
                raise InputError(f"optimiser {kind} keeps a state for each side: give optimiser_states two with it")

    @torch.no_grad()
    def ascend(self, direction: Vector, lr: float, weight: float, share: float = 1.0) -> None:
        """θ ← θ + η·λ·share·P·direction, one of the inner steps of a round.

        Args:
            direction: w = ∇Φ.
            lr: η, the step size of the descent.
            weight: λ_eff.
            share: 1/T of T inner steps.
        """
        self._rule.step("ascent", direction, lr * weight * share, weight=weight, share=share)

    @torch.no_grad()
    def descend(self, direction: Vector, lr: float) -> None:
        """θ ← θ − η·P·direction, an outer step of a round.

        Args:
            direction: g_r + 2ρy.
            lr: η.
        """
        self._rule.step("descent", direction, lr, weight=1.0, share=1.0)

    def state_dict(self) -> dict[str, Any]:
        """Moments and counts, for a checkpoint (tensors by name)."""
        return self._rule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint (taken between rounds)."""
        self._rule.load_state_dict(state)
