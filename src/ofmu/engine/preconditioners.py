"""How a direction becomes a step, with what is remembered of earlier ones: one class a rule."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, final

import torch
from torch import Tensor

from ofmu.core import foreach
from ofmu.core.foreach import bundles
from ofmu.core.vector import Vector
from ofmu.engine.moments import moments_by_name, restore_moments
from ofmu.errors import unknown

Side = Literal["ascent", "descent"]
States = Literal["one", "two"]


class Preconditioner(ABC):
    """P of θ ← θ ± η P d, applied in place; temporaries are of one bundle of tensors, never of the whole model.

    Args:
        parameters: the trained parameters by name.
    """

    def __init__(self, parameters: Mapping[str, Tensor]):
        self.parameters = dict(parameters)

    @abstractmethod
    def step(self, side: Side, direction: Vector, lr: float, *, weight: float, share: float) -> None:
        """θ ← θ + η P d for an ascent, θ ← θ − η P d for a descent.

        Args:
            side: which of the two.
            direction: d, of the parameters' names and shapes; only read.
            lr: η ≥ 0, everything included.
            weight: λ_eff of an ascent; 1 of a descent.
            share: 1/T of T inner steps; 1 of a descent.
        """

    def state_dict(self) -> dict[str, Any]:
        """What is remembered between rounds: tensors by name, plain numbers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (most remember nothing)
        """Go on from a checkpoint, taken between rounds."""


@final
class Plain(Preconditioner):
    """P = 1: the steps of the paper."""

    def step(self, side: Side, direction: Vector, lr: float, *, weight: float, share: float) -> None:
        """θ ± η d."""
        Vector(self.parameters).add_(direction, lr if side == "ascent" else -lr)


@final
class Sign(Preconditioner):
    """P d = sign(d): every weight moves by η, however small its gradient; λ_eff is the ratio of the two moves."""

    def step(self, side: Side, direction: Vector, lr: float, *, weight: float, share: float) -> None:
        """θ ± η sign(d)."""
        for name, d in direction.items():
            self.parameters[name].add_(d.sign(), alpha=lr if side == "ascent" else -lr)


@final
class Adam(Preconditioner):
    """P = 1/(√v̂ + ε), on first moments m̂ of each side; v is one for both sides, or one each.

        m_s ← β₁ m_s + (1 − β₁) d                                of side s, always apart
        v   ← β₂ v + (1 − β₂) (g² + Σ_t (λ w_t)²/T)              `one`, a round
        v_s ← β₂ v_s + (1 − β₂) d²                               `two`, a step

    A shared v takes in each (λ w_t)²/T as it comes, so that a first small gradient is not divided by what earlier
    rounds left; v̂ divides by the weights that v has gathered, which makes it a mean at any moment.

    Args:
        parameters: as above.
        states: `one` or `two` second moments.
        betas: β₁, β₂, each 0 ≤ β < 1.
        eps: ε > 0.
    """

    def __init__(self, parameters: Mapping[str, Tensor], states: States, betas: tuple[float, float], eps: float):
        super().__init__(parameters)
        self._states, self._betas, self._eps = states, betas, eps
        self._steps = {"ascent": 0, "descent": 0}
        self._first: dict[str, Vector] = {}
        self._second: dict[str, Vector] = {}
        self._seen = 0.0  # Σ 1/T of the round's inner steps so far, for the shared v

    def step(self, side: Side, direction: Vector, lr: float, *, weight: float, share: float) -> None:
        """θ ± η P m̂."""
        name = "both" if self._states == "one" else side
        decay, gain, gathered = self._of_both(side, weight, share) if name == "both" else self._of_one(side)
        first, second = _moment(self._first, side, direction), _moment(self._second, name, direction)
        b1 = self._betas[0]
        factor = (lr if side == "ascent" else -lr) / (1 - b1 ** self._steps[side])
        root = gathered**0.5  # m/(√(v/r²) + ε) = r m/(√v + rε): a pass less
        for names in bundles(direction):
            theta, d, m, v = ([x[n] for n in names] for x in (self.parameters, direction, first, second))
            foreach.lerp_(m, d, 1 - b1)
            if decay != 1:
                foreach.mul_(v, decay)
            foreach.addcmul_(v, d, d, gain)
            scale = foreach.sqrt(v)
            foreach.add_(scale, root * self._eps)
            foreach.addcdiv_(theta, m, scale, root * factor)

    def _of_one(self, side: Side) -> tuple[float, float, float]:
        """How v decays, the weight of the new square, and the sum of all weights; of a side of its own."""
        self._steps[side] += 1
        b2 = self._betas[1]
        return b2, 1 - b2, 1 - b2 ** self._steps[side]

    def _of_both(self, side: Side, weight: float, share: float) -> tuple[float, float, float]:
        """The same of a v of both sides, which decays once a round."""
        self._steps[side] += 1
        b2 = self._betas[1]
        decay = b2 if self._seen == 0 else 1.0
        if side == "ascent":
            self._seen += share
            earlier = b2 * (1 - b2 ** self._steps["descent"])
            return decay, (1 - b2) * weight**2 * share, earlier + (1 - b2) * self._seen
        self._seen = 0.0
        return decay, 1 - b2, 1 - b2 ** self._steps["descent"]

    def state_dict(self) -> dict[str, Any]:
        """Moments and counts."""
        return {
            "steps": dict(self._steps),
            "first": {side: dict(vector) for side, vector in self._first.items()},
            "second": {side: dict(vector) for side, vector in self._second.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint, taken between rounds."""
        self._steps, self._seen = dict(state["steps"]), 0.0
        self._first = {side: Vector(tensors) for side, tensors in state["first"].items()}
        self._second = {side: Vector(tensors) for side, tensors in state["second"].items()}


def _moment(held: dict[str, Vector], name: str, like: Vector) -> Vector:
    """The moment of that name, 0 at first."""
    if name not in held:
        held[name] = Vector.zeros_like(like)
    return held[name]


@final
class Torch(Preconditioner):
    """An optimiser of torch for each side, at torch's own settings but for the step size.

    Args:
        parameters: as above.
        name: its class in ``torch.optim``, as :func:`torch_optimisers` lists them.

    Raises:
        InputError: there is none of that name that can do both sides.
    """

    def __init__(self, parameters: Mapping[str, Tensor], name: str):
        super().__init__(parameters)
        if name not in torch_optimisers():
            raise unknown("optimiser", name, ["adamw", "sgd", "sign", *torch_optimisers()])
        make: Any = getattr(torch.optim, name)
        held = list(self.parameters.values())
        self._sides = {side: make(held, maximize=side == "ascent") for side in ("ascent", "descent")}

    def step(self, side: Side, direction: Vector, lr: float, *, weight: float, share: float) -> None:
        """A step of that side's optimiser, with the direction as its gradient."""
        optimiser = self._sides[side]
        for group in optimiser.param_groups:
            group["lr"] = lr
        for name, parameter in self.parameters.items():
            parameter.grad = direction[name]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Each side's state by parameter name."""
        return {side: moments_by_name(found, self.parameters) for side, found in self._sides.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for side, moments in state.items():
            restore_moments(self._sides[side], self.parameters, moments)


def torch_optimisers() -> list[str]:
    """Classes of ``torch.optim`` that take any dense parameter, up or down, without a closure.

    >>> "RMSprop" in torch_optimisers(), "LBFGS" in torch_optimisers()
    (True, False)
    """
    found = []
    for name, made in vars(torch.optim).items():
        takes_any = isinstance(made, type) and issubclass(made, torch.optim.Optimizer) and name != "SparseAdam"
        if takes_any and "maximize" in inspect.signature(made).parameters:
            found.append(name)
    return sorted(found)
