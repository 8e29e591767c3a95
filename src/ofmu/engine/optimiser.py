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

    Adam's preconditioner P = 1/(√v̂ + ε) with v of the round's *combined* gradient g_r + 2ρy − λw (`one`), so that
    the ratio of the two displacements is λ_eff as under plain gradient steps; or each side normalised by its own v
    (`two`), where the ratio is set by the step sizes alone. First moments are always kept apart: a shared momentum
    would mix the signs of ascent and descent.

        ascent:  θ ← θ + η λ P m̂_w        descent:  θ ← θ − η P m̂_g

    With ``kind="sgd"`` P = 1 and there are no moments.

    Args:
        parameters: the trained parameters, changed in place.
        kind: `adamw` or `sgd`.
        states: `one` or `two` second moments.
        betas: decay of the first and second moments.
        eps: ε > 0.
        weight_decay: decoupled decay of the descent steps, ≥ 0.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        kind: Kind = "adamw",
        states: States = "one",
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        self._parameters = dict(parameters)
        self._kind, self._states = kind, states
        self._betas, self._eps, self._weight_decay = betas, eps, weight_decay
        self._steps = {"ascent": 0, "descent": 0}
        self._first: dict[str, Vector] = {}
        self._second: dict[str, Vector] = {}
        self._pending: Vector | None = None  # −λ Σ_t w_t/T of the round under way, for the shared second moment

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
            part = direction * (-weight * share)
            self._pending = part if self._pending is None else self._pending.add_(part)
            # what this round has seen so far belongs to the preconditioner, or a first small gradient would be
            # divided by an even smaller one
            scale = self._scale(self._squared("both", self._pending), self._steps["descent"] + 1)
        else:
            self._second["ascent"] = self._squared("ascent", direction)
            scale = self._scale(self._second["ascent"], self._steps["ascent"])
        self._add(momentum, lr * weight * share, scale)

    @torch.no_grad()
    def descend(self, direction: Vector, lr: float) -> None:
        """θ ← (1 − η·decay) θ − η·P·direction, the outer step of a round.

        Args:
            direction: g_r + 2ρy.
            lr: η.
        """
        self._steps["descent"] += 1
        if self._weight_decay:
            for parameter in self._parameters.values():
                parameter.mul_(1 - lr * self._weight_decay)
        if self._kind == "sgd":
            self._add(direction, -lr)
            return
        momentum = self._moment("descent", direction)
        name, seen = "both" if self._states == "one" else "descent", direction
        if self._pending is not None:
            seen, self._pending = direction + self._pending, None
        self._second[name] = self._squared(name, seen)
        self._add(momentum, -lr, self._scale(self._second[name], self._steps["descent"]))

    def _moment(self, name: str, direction: Vector) -> Vector:
        """m̂, the bias-corrected first moment after taking in `direction`."""
        decay = self._betas[0]
        held = self._first.setdefault(name, Vector.zeros_like(direction))
        for key, value in direction.items():
            held[key].mul_(decay).add_(value, alpha=1 - decay)
        return held * (1 / (1 - decay ** self._steps[name]))

    def _squared(self, name: str, direction: Vector) -> Vector:
        """The second moment with `direction` taken in; what is held stays as it is."""
        decay = self._betas[1]
        held = self._second.get(name) or Vector.zeros_like(direction)
        return Vector(
            {key: (held[key] * decay).addcmul_(value, value, value=1 - decay) for key, value in direction.items()}
        )

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
