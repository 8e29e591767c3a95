"""Normalisation layers from elementary operations, for exact derivatives beyond the second.

torch's fused layer, batch and instance norm have correct second derivatives, but their third ones are
silently wrong: the saved mean and variance reach the formula of the second derivative as constants (pytorch
issues 175754 and 186256; measured with torch 2.13: relative errors of .15 to .6). y = ∇²Φ w needs third
derivatives, so these layers are computed from operations whose derivatives of every order are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


@final
class Elementary(TorchFunctionMode):
    """Within this context, fused normalisation layers are replaced; same values to rounding error."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the replacement of ``func``, or ``func`` itself."""
        return _REPLACED.get(func, func)(*args, **(kwargs or {}))


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """``torch.nn.functional.layer_norm``: standardised over the last dimensions, then weight and bias."""
    y = _standardised(input, tuple(range(-len(normalized_shape), 0)), eps)
    return _affine(y, weight, bias).to(input.dtype)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` of (B, C, …); running statistics are read but never moved.

    With fixed statistics the fused layer is an affine map, right to every order, and is used.
    """
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    y = _standardised(input, (0, *range(2, input.ndim)), eps)
    return _affine(y, _channels(weight, input), _channels(bias, input)).to(input.dtype)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.instance_norm`` of (B, C, …); likewise."""
    if not use_input_stats:
        return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    y = _standardised(input, tuple(range(2, input.ndim)), eps)
    return _affine(y, _channels(weight, input), _channels(bias, input)).to(input.dtype)


_REPLACED: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    F.layer_norm: layer_norm,
    torch.layer_norm: layer_norm,
    F.batch_norm: batch_norm,
    F.instance_norm: instance_norm,
}


def _standardised(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    if x.dtype in {torch.float16, torch.bfloat16}:
        x = x.float()  # as the fused kernels do
    centred = x - x.mean(dims, keepdim=True)
    return centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _channels(values: Tensor | None, x: Tensor) -> Tensor | None:
    """(C,) → (C, 1, …), to go with x of (B, C, …)."""
    return None if values is None else values.reshape(-1, *[1] * (x.ndim - 2))
