"""The scale of a model's weights, from which the step size follows.

A step of size lr that moves every entry of a matrix W (n × m) by ± lr can change its spectral norm by lr ·
√(nm). So lr = r · ‖W‖₂ / √(nm) changes it by a share r at most, whatever the width. The model's scale is the
median over its hidden matrices.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ofmu.errors import InputError
from ofmu.models.adapters import is_adapted
from ofmu.models.hidden import hidden_layers

BLOCK = 8  # vectors iterated together: the error then falls by the ratio of σ₁ to σ₉, not to σ₂
MAX_ITERATIONS = 500


def spectral_scale(model: nn.Module, *, seed: int = 0) -> float:
    """Median over the hidden weight matrices of ‖W‖₂ / √(nm): the step size is r times this, r ≈ 0.05.

    Hidden matrices: :func:`ofmu.models.hidden.hidden_layers`; convolutions as (out, in · height · width).
    Expert weights kept as one three-dimensional parameter count as one matrix an expert.

    Under LoRA, W + s · B A with s = alpha / rank, the parameters are A and B, and what matters is the change
    of the product. A step of lr on both changes it by at most lr · s · √rank · (√n ‖A‖₂ + √m ‖B‖₂) in
    spectral norm, and the scale is ‖W‖₂ divided by the factor of lr. (B = 0 at first: the product itself has
    no scale yet, so the share is taken of the matrix that it modifies.) It is some twenty times the scale of
    the full model at 4,096 × 4,096 and rank 8, as published LoRA step sizes are.

    Args:
        model: plain or with a LoRA adapter; not sharded (measure before sharding).
        seed: of the starting vectors.

    Returns:
        The scale, > 0, in units of a weight.

    Raises:
        InputError: the model has no weight matrix.
    """
    generator = torch.Generator().manual_seed(seed)
    if is_adapted(model):
        scales = _adapter_scales(model, generator)
    else:
        scales = [_scale(matrix, generator) for matrix in hidden_matrices(model)]
    scales = [scale for scale in scales if scale > 0]
    if not scales:
        raise InputError("the model has no weight matrix to take the step size from: give --learning-rate")
    return statistics.median(scales)


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """The hidden weight matrices of a model without adapter, (n, m) each, in the order of definition."""
    matrices: list[Tensor] = []
    for module in hidden_layers(model).values():
        weight: Any = module.weight
        matrices.append(weight.detach().flatten(1))
    return matrices + _experts(model)


def _experts(model: nn.Module) -> list[Tensor]:
    found: list[Tensor] = []
    for module in model.modules():
        if not isinstance(module, _ConvNd):
            found += [
                matrix
                for parameter in module._parameters.values()
                if parameter is not None and parameter.ndim == 3 and min(parameter.shape) > 1
                for matrix in parameter.detach()
            ]
    return found


def _scale(matrix: Tensor, generator: torch.Generator) -> float:
    return spectral_norm(matrix, generator) / math.sqrt(matrix.numel())


def _adapter_scales(model: nn.Module, generator: torch.Generator) -> list[float]:
    from peft.tuners.lora import LoraLayer

    scales: list[float] = []
    for layer in model.modules():
        if not isinstance(layer, LoraLayer) or "default" not in layer.lora_A:
            continue
        inner: Any = layer
        a = inner.lora_A["default"].weight.detach().flatten(1)  # (rank, m)
        b = inner.lora_B["default"].weight.detach().flatten(1)  # (n, rank)
        factor = math.sqrt(b.shape[0]) * spectral_norm(a, generator) + math.sqrt(a.shape[1]) * spectral_norm(
            b, generator
        )
        base = spectral_norm(inner.get_base_layer().weight.detach().flatten(1), generator)
        scales.append(base / (inner.scaling["default"] * math.sqrt(a.shape[0]) * factor))
    return scales


def spectral_norm(matrix: Tensor, generator: torch.Generator, *, tolerance: float = 1e-6) -> float:
    """The largest singular value ‖W‖₂ by power iteration on a few vectors together, to better than 1e-3.

    Each round V ← orthonormal basis of WᵀW V, and the estimate is ‖W V‖₂ (a matrix of a few columns); it
    rises to the true value from below. It stops when a round gains less than ``tolerance`` of it.

    Args:
        matrix: (n, m); computed in float32 or wider.
        generator: CPU generator of the starting vectors.
        tolerance: relative gain of a round, > 0.

    Returns:
        ‖W‖₂ ≥ 0.
    """
    w = matrix if matrix.dtype == torch.float64 else matrix.float()
    if w.shape[0] < w.shape[1]:
        w = w.T
    start = torch.randn(w.shape[1], min(BLOCK, w.shape[1]), generator=generator, dtype=torch.float64)
    v = torch.linalg.qr(start.to(w)).Q
    estimate = 0.0
    for _ in range(MAX_ITERATIONS):
        image = w @ v  # (n, k)
        before, estimate = estimate, float(torch.linalg.matrix_norm(image, ord=2))
        if estimate - before <= tolerance * estimate:
            break
        v = torch.linalg.qr(w.T @ image).Q
    return estimate
