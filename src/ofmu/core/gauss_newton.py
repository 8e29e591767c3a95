"""Gauss–Newton products Jᵀ H_out J d: curvature of the criterion alone, seen through the model's Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor

from ofmu.core.backend import Derivatives, scalar
from ofmu.core.displacement import Displacement
from ofmu.core.finite_difference import FiniteDifference
from ofmu.core.foreach import is_sharded
from ofmu.core.problem import Loss, parts
from ofmu.core.steps import NOISE, Steps
from ofmu.core.vector import Direction, Vector, number
from ofmu.errors import InputError


@runtime_checkable
class Split(Protocol):
    """A part of a loss that is a criterion of a model's outputs: ``part() == part.criterion(part.outputs())``."""

    def __call__(self) -> Tensor:
        """The part's value, a scalar."""
        ...

    def outputs(self) -> Tensor:
        """The model's outputs z (logits), any shape, in the graph of the parameters."""
        ...

    def criterion(self, outputs: Tensor) -> Tensor:
        """The value from outputs, a scalar that torch can differentiate twice."""
        ...


@final
class GaussNewton(Derivatives):
    """H ≈ Jᵀ H_out J: no double backward through the network, and no sign of its own.

    J d is a central difference of outputs, (z(θ + he) − z(θ − he))/2h, two forward passes without a graph; H_out is
    exact on the outputs; Jᵀ is one backward pass. A product so costs 5/3 gradients. What is left out, the network's own
    curvature weighted by the residuals, is what tells a memorised minimum from a forgotten maximum: good enough for
    D, refused for y.

    Args:
        parameters: name → leaf tensor in float32 or float64, not sharded.
        buffers: name → tensor put back after every evaluation.
        noise: ε, relative noise of the outputs; None takes it from the parameters' dtype, as for
            :class:`~ofmu.core.finite_difference.FiniteDifference`: under bfloat16 autocast pass
            ``NOISE[torch.bfloat16]``.
        before_edit: called before parameters are touched.

    Raises:
        InputError: a parameter in half precision, or sharded, or a noise outside (0, 1).
    """

    penalty = "refused"

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor] | None = None,
        *,
        noise: float | None = None,
        before_edit: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(parameters, buffers)
        if any(is_sharded(p) for p in parameters.values()):
            raise InputError("derivatives 'gauss_newton' cannot see through sharded parameters: use finite_difference")
        self._first_order = FiniteDifference(parameters, buffers, noise=noise, before_edit=before_edit)
        self._displacement = Displacement(parameters, before_edit)
        coarsest = max((p.dtype for p in parameters.values()), key=lambda dtype: torch.finfo(dtype).eps)
        self._steps = Steps(noise or NOISE[coarsest], torch.finfo(coarsest).eps / 2, central=True)

    def gradient(self, loss: Loss, *, differentiable: bool = False) -> Vector:
        """∇loss by ``.backward()``; see :meth:`Derivatives.gradient`."""
        return self._first_order.gradient(loss)

    def curvature(
        self,
        loss: Loss,
        direction: Direction,
        *,
        at: Vector | None = None,
        key: str = "",
        differentiable: bool = False,
        spend: bool = False,
    ) -> Vector:
        """Jᵀ H_out J d; ``at``, ``key``, ``differentiable`` and ``spend`` change nothing here.

        Raises:
            InputError: a part of the loss does not show its outputs.
        """
        size = number(direction.norm())
        if size == 0:
            return Vector.zeros_like(self.parameters)
        scale = self._steps.first(self._displacement.size) / size
        return self.gradient([self._pulled_back(part, direction, scale) for part in parts(loss)])

    def product(
        self,
        gradient: Callable[[], Vector],
        direction: Direction,
        *,
        at: Vector | None = None,
        key: str = "",
        differentiable: bool = False,
        share: float = 0.0,
    ) -> Vector:
        """Refused: a gradient field has no outputs.

        Raises:
            InputError: always.
        """
        raise InputError(
            "derivatives 'gauss_newton' know the curvature of a loss only, not of Φ: they drop the sign that tells "
            "forgetting from remembering. Use 'finite_difference' or 'secant' for the penalty, or rho 0"
        )

    def refresh(self) -> None:
        """Nothing to do: the step depends on the parameters alone."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""

    def _pulled_back(self, part: Callable[[], Tensor], direction: Direction, scale: float) -> Callable[[], Tensor]:
        """A loss whose gradient is the part's Jᵀ H_out J d: ⟨z(θ), H_out J d⟩ with the right factor held."""
        if not isinstance(part, Split):
            raise InputError(
                "derivatives 'gauss_newton' need losses with the methods outputs() and criterion(outputs): "
                "use derivatives 'finite_difference' for plain closures"
            )

        def pulled_back() -> Tensor:
            change = self._change_of_outputs(part, direction, scale)  # J d; first, for it touches what z's graph saves
            z = part.outputs()
            point = z.detach().requires_grad_()
            (slope,) = torch.autograd.grad(scalar(part.criterion(point)), point, create_graph=True)
            if not slope.requires_grad:  # a criterion that is linear in the outputs
                return 0 * z.sum()
            (weight,) = torch.autograd.grad(slope, point, change)  # H_out J d
            return (z * weight).sum()

        return pulled_back

    @torch.no_grad()
    def _change_of_outputs(self, part: Split, direction: Direction, scale: float) -> Tensor:
        with self._undisturbed(), torch.no_grad():
            with self._displacement.along(direction, scale):
                ahead = part.outputs()
            with self._displacement.along(direction, -scale):
                behind = part.outputs()
        return (ahead - behind) / (2 * scale)
