"""Gradients and Hessian–vector products of closures: what every way of differentiating offers.

Two operations, ``gradient(loss)`` and ``product(gradient, direction)``; they nest, so that third derivatives
are a product of a closure that calls ``product`` itself. On return, even by an exception, parameters,
buffers, ``.grad`` and torch's generators are bit for bit as before; thus every evaluation sees the same
random draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from ofmu.core.problem import Loss, check_parameters
from ofmu.core.vector import Direction, Vector
from ofmu.errors import InputError


class Derivatives(ABC):
    """What the algorithm may ask about a loss: its gradient, and how a gradient changes along a direction.

    Args:
        parameters: name → leaf tensor; the θ with respect to which everything is differentiated.
        buffers: name → tensor put back after every evaluation.
    """

    overwritable: bool = False
    """Whether results share storage with nothing, so that whoever asked for them may write into them."""
    penalty: Literal["product", "secant", "refused"] = "product"
    """Where the curvature of Φ in the penalty comes from: a product, the inner trajectory (22), or nowhere."""

    def __init__(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None) -> None:
        check_parameters(parameters)
        self.parameters = dict(parameters)
        self.buffers = dict(buffers or {})

    @abstractmethod
    def gradient(self, loss: Loss, *, differentiable: bool = False) -> Vector:
        """∇loss at the current parameters.

        Args:
            loss: a closure that returns a scalar, or a sequence of them that is a sum; each part is evaluated
                once.
            differentiable: the result will be passed to :meth:`product` as ``at``; exact derivatives then
                keep its graph (and the activations in it) and need not evaluate the loss again.

        Returns:
            A vector with the parameters' names, shapes and dtypes; 0 where the loss does not depend on a
            parameter.
        """

    @abstractmethod
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
        """(∂ gradient/∂θ) · direction: a Hessian–vector product where ``gradient`` is a gradient field.

        Args:
            gradient: evaluates the field at the current parameters, by this object's ``gradient`` and
                ``product``; the same draws and batch at every call.
            direction: any length; 0 costs nothing and gives 0.
            at: ``gradient()`` at the current parameters, if known; saves one evaluation.
            key: names the product, so that lengths remembered for it are not mixed with another's.
            differentiable: as in :meth:`gradient`; by differences, the result will itself be differenced.
            share: how much of the gradient's length is itself made of products, 0 … 1; their error is its
                noise, and differences then take longer steps.

        Returns:
            A vector like ``direction``.
        """

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
        """H d of a loss, or what stands for its Hessian.

        Args:
            loss: whose.
            direction: d.
            at: ∇loss at the current parameters, if known.
            key: as in :meth:`product`.
            differentiable: as in :meth:`product`.
            spend: nobody needs ``at`` any more: its storage may become that of the result.
        """
        return self.product(
            lambda: self.gradient(loss, differentiable=at is None),
            direction,
            at=at,
            key=key,
            differentiable=differentiable,
        )

    @abstractmethod
    def refresh(self) -> None:
        """Take up what was learnt from earlier products; called where a new, unrelated evaluation begins."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What later results depend on besides the parameters: plain numbers, empty if nothing."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Put buffers and generators back on the way out, whatever happens; gradients are on inside."""
        kept = {name: x.detach().clone() for name, x in self.buffers.items()}
        try:
            with _same_draws(x.device for x in self.parameters.values()), torch.enable_grad():
                yield
        finally:
            for name, x in kept.items():
                # .data: a graph that is still alive may have saved the buffer, and its values do not change
                self.buffers[name].data.copy_(x)


@contextmanager
def _same_draws(devices: Iterable[torch.device]) -> Iterator[None]:
    """Put torch's own generators back on the way out: the CPU's, and those of the devices in use."""
    others = {device for device in devices if device.type != "cpu"}
    if any(device.type == "mps" for device in others):  # has one generator and no indices
        state = torch.mps.get_rng_state()
        try:
            with torch.random.fork_rng([]):
                yield
        finally:
            torch.mps.set_rng_state(state)
        return
    kind = next((device.type for device in others), "cuda")
    with torch.random.fork_rng([device.index or 0 for device in others], device_type=kind):
        yield


def scalar(value: Tensor) -> Tensor:
    """The value of a loss closure, checked.

    Args:
        value: what the closure returned.

    Returns:
        The value, 0-d.

    Raises:
        InputError: not a single number, or not a function of anything that requires a gradient.
    """
    if value.numel() != 1:
        raise InputError(f"a loss must be a single number, but it has shape {tuple(value.shape)}: sum or average it")
    if not value.requires_grad:
        raise InputError("a loss does not depend on any parameter: was it computed under no_grad, or detached?")
    return value.reshape(())
