"""Optimisers: torch's own for the one-sided methods, and one that knows ascent from descent for OFMU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ofmu.core.vector import Vector

Kind = Literal["adamw", "sgd"]
States = Literal["one", "two"]


class TwoSided:
    """Steps of two kinds on the same parameters: ascent (forget) and descent (retain).

    Adam's preconditioner P = 1/(√v̂ + ε) with v of both sides of a round, (g_r + 2ρy)² + mean_t (λw_t)²
    (`one`), so that the ratio of the two displacements is λ_eff as under plain gradient steps; or each side normalised
    by its own v (`two`), where the ratio is set by the step sizes alone. First moments are always kept apart: a shared
    momentum would mix the signs of ascent and descent. The square of the combined gradient would not do for v: where
    its parts cancel, each of them would be divided by next to nothing.

        ascent:  θ ← θ + η λ P m̂_w        descent:  θ ← θ − η P m̂_g

    With ``kind="sgd"`` P = 1 and there are no moments.

    Args:
        parameters: the trained parameters, changed in place.
        kind: `adamw` or `sgd`.
        states: `one` or `two` second moments.
        betas: decay of the first and second moments.
        eps: ε > 0.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        kind: Kind = "adamw",
        states: States = "one",
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ):
        self._parameters = dict(parameters)
        self._kind, self._states = kind, states
        self._betas, self._eps = betas, eps
        self._steps = {"ascent": 0, "descent": 0}
        self._first: dict[str, Vector] = {}
        self._second: dict[str, Vector] = {}
        self._pending: Vector | None = None  # mean of (λw)² over the round's inner steps so far, for the shared v
        self._inner_steps = 0

    @torch.no_grad()
    def ascend(self, direction: Vector, lr: float, weight: float, share: float = 1.0) -> None:
        """θ ← θ + η·λ·share·P·direction, one of the inner steps of a round.

        Args:
            direction: w = ∇Φ.
            lr: η, the step size of the descent.
            weight: λ_eff.
            share: 1/T of T inner steps.
        """
        self._steps["ascent"] += 1
        if self._kind == "sgd":
            self._add(direction, lr * weight * share)
            return
        momentum = self._moment("ascent", direction)
        if self._states == "one":
            square = _square(direction, weight)
            # what this round has seen so far belongs to the preconditioner, or a first small gradient would be
            # divided by an even smaller one
            self._inner_steps += 1
            old = square if self._pending is None else self._pending
            self._pending = old.plus(square - old, 1 / self._inner_steps)
            scale = self._scale(self._second_with("both", self._pending), self._steps["descent"] + 1)
        else:
            self._second["ascent"] = self._second_with("ascent", _square(direction))
            scale = self._scale(self._second["ascent"], self._steps["ascent"])
        self._add(momentum, lr * weight * share, scale)

    @torch.no_grad()
    def descend(self, direction: Vector, lr: float) -> None:
        """θ ← θ − η·P·direction, the outer step of a round.

        Args:
            direction: g_r + 2ρy.
            lr: η.
        """
        self._steps["descent"] += 1
        if self._kind == "sgd":
            self._add(direction, -lr)
            return
        momentum = self._moment("descent", direction)
        name, square = "both" if self._states == "one" else "descent", _square(direction)
        if self._pending is not None:
            square.add_(self._pending)
            self._pending, self._inner_steps = None, 0
        self._second[name] = self._second_with(name, square)
        self._add(momentum, -lr, self._scale(self._second[name], self._steps["descent"]))

    def _moment(self, name: str, direction: Vector) -> Vector:
        """m̂, the bias-corrected first moment after taking in `direction`."""
        decay = self._betas[0]
        held = self._first.setdefault(name, Vector.zeros_like(direction))
        for key, value in direction.items():
            held[key].mul_(decay).add_(value, alpha=1 - decay)
        return held * (1 / (1 - decay ** self._steps[name]))

    def _second_with(self, name: str, square: Vector) -> Vector:
        """The second moment with a square taken in; what is held stays as it is."""
        decay, held = self._betas[1], self._second.get(name)
        return square * (1 - decay) if held is None else (held * decay).plus(square, 1 - decay)

    def _scale(self, second: Vector, count: int) -> Vector:
        """√v̂ + ε of a second moment that has taken in `count` directions."""
        correction = 1 - self._betas[1] ** count
        return Vector({key: (value / correction).sqrt_().add_(self._eps) for key, value in second.items()})

    def _add(self, direction: Vector, factor: float, scale: Vector | None = None) -> None:
        for key, value in direction.items():
            step = value if scale is None else value / scale[key]
            self._parameters[key].add_(step, alpha=factor)

    def state_dict(self) -> dict[str, Any]:
        """Moments and counts, for a checkpoint (tensors by name)."""
        return {
            "steps": dict(self._steps),
            "first": {side: dict(vector) for side, vector in self._first.items()},
            "second": {side: dict(vector) for side, vector in self._second.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint (taken between rounds)."""
        self._steps = dict(state["steps"])
        self._first = {side: Vector(tensors) for side, tensors in state["first"].items()}
        self._second = {side: Vector(tensors) for side, tensors in state["second"].items()}


def _square(direction: Vector, weight: float = 1.0) -> Vector:
    """(weight · direction)², entry by entry."""
    return Vector({key: (value * weight).square_() for key, value in direction.items()})
