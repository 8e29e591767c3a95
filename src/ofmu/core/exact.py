"""Exact derivatives: double and triple backward (14), (15); the referee of all approximations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel

from ofmu.core.backend import Derivatives, scalar
from ofmu.core.elementary import Elementary
from ofmu.core.foreach import is_sharded
from ofmu.core.problem import Loss, parts
from ofmu.core.vector import Direction, Vector
from ofmu.errors import InputError

_BLOCKED = (
    re.compile(r"derivative for '?(?:aten::)?(?P<op>\S+?)'? is not implemented"),
    re.compile(r"(?P<op>torch\.compile) .*does not (?:currently )?support double backward"),
)
"""What torch says when an operation cannot be differentiated again, and where it names it."""

_DECORATOR: Final = once_differentiable.__code__.co_filename
"""Where the code of a backward pass that it has wrapped lies."""


@final
class Exact(Derivatives):
    """Derivatives by automatic differentiation, to rounding error.

    A product is one more backward pass through the gradient's graph: ⟨gradient, direction⟩ is differentiated,
    which is the Hessian–vector product because Hessians are symmetric. Needs operations with second
    derivatives (and third ones when nested): attention is switched to its MATH kernel, normalisation layers
    to elementary operations; other fused kernels, reentrant checkpointing, ``torch.compile`` and sharded
    parameters will not do. At kinks (ReLU) automatic differentiation sees no curvature.
    """

    def __init__(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(parameters, buffers)
        self._depth = 0  # > 0 inside a product: whatever is computed there will be differentiated again
        self._evaluations = 0
        if any(is_sharded(p) for p in parameters.values()):
            raise InputError("derivatives 'exact' cannot see through sharded parameters: use 'finite_difference'")

    def gradient(self, loss: Loss, *, differentiable: bool = False) -> Vector:
        """∇loss by one backward pass a part; see :meth:`Derivatives.gradient`."""
        self._evaluations += 1
        again = differentiable or self._depth > 0
        total: Vector | None = None
        with self._twice_differentiable():
            for part in parts(loss):
                value = scalar(part())
                _check_graph(value, again)
                gradient = self._backward([value], None, again)
                total = gradient if total is None else total + gradient
        return Vector.zeros_like(self.parameters) if total is None else total

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
        """∇⟨gradient, direction⟩; see :meth:`Derivatives.product`. ``at`` helps only if it kept its graph.

        Raises:
            InputError: ``gradient`` was not made by this object, or an operation cannot be differentiated
                again.
        """
        self._evaluations += 1
        if at is None or not any(x.requires_grad for x in at.values()):
            at = self._evaluate(gradient)
        curved = [name for name, x in at.items() if x.requires_grad]
        if not curved:  # a linear loss: its gradient is a constant
            return Vector.zeros_like(self.parameters)
        with self._twice_differentiable():
            return self._backward(
                [at[name] for name in curved],
                [direction[name] for name in curved],
                differentiable or self._depth > 0,
                retain_graph=True,  # `at` belongs to the caller, who may want another product of it
            )

    def refresh(self) -> None:
        """Nothing to do: nothing is remembered."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""

    def _evaluate(self, gradient: Callable[[], Vector]) -> Vector:
        before = self._evaluations
        self._depth += 1
        try:
            value = gradient()
        finally:
            self._depth -= 1
        if self._evaluations == before:
            raise InputError("the gradient given to product() must be computed by the same derivatives object")
        return value

    def _backward(
        self,
        outputs: Sequence[Tensor],
        weights: Sequence[Tensor] | None,
        again: bool,
        retain_graph: bool | None = None,
    ) -> Vector:
        try:
            gradients = torch.autograd.grad(
                outputs,
                list(self.parameters.values()),
                weights,
                create_graph=again,
                retain_graph=retain_graph,
                allow_unused=True,
                materialize_grads=True,
            )
        except RuntimeError as error:
            raise _explained(error) from error
        return Vector(zip(self.parameters, gradients))

    @contextmanager
    def _twice_differentiable(self) -> Iterator[None]:
        with self._undisturbed(), sdpa_kernel(SDPBackend.MATH), Elementary():
            yield


def _check_graph(value: Tensor, again: bool) -> None:
    """Raise where ``torch.autograd.grad`` would leave out a part of the graph without a word.

    It visits only what leads to the parameters. A reentrant checkpoint hides those inside it, and a function whose
    backward pass is marked @once_differentiable hides what its gradient depends on: its complaint is a node that is
    never reached.
    """
    seen: set[Any] = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == "CheckpointFunctionBackward":
            raise _blocked_by("Checkpointing")
        if again and _is_once_differentiable(node):
            raise _blocked_by(node.name().removesuffix("Backward"))
        waiting += [following for following, _ in node.next_functions]


def _is_once_differentiable(node: Any) -> bool:
    """Whether the node is of a function written in Python whose backward pass torch's decorator has wrapped."""
    backward = getattr(getattr(node, "_forward_cls", None), "backward", None)
    code = getattr(backward, "__code__", None)
    return hasattr(backward, "__wrapped__") and code is not None and code.co_filename == _DECORATOR


def _blocked_by(operation: str) -> InputError:
    return InputError(
        f"derivatives 'exact' need operations that can be differentiated twice, and '{operation}' cannot: "
        "use derivatives 'finite_difference', or a model without this operation"
    )


def _explained(error: RuntimeError) -> Exception:
    found = next((found for pattern in _BLOCKED if (found := pattern.search(str(error)))), None)
    return error if found is None else _blocked_by(found["op"])
