"""Weights rounded to few bits: unlearning that moved them by less than a rounding step is undone by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from scipy.stats import norm
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from ofmu.errors import InputError, unknown
from ofmu.evaluation.attack import Attacked, Compared, Findings, ModelAttack, Target
from ofmu.evaluation.attacked import by_variant, measured, measured_figures
from ofmu.evaluation.records import SETS
from ofmu.models.hidden import head_of

GROUP = 64
"""Weights that share a scale in `int4` (along the input) and `nf4` (along the rows, one after the other)."""

OFFSET = 0.9677083
"""q: the largest level of `nf4` is Φ⁻¹(q)."""


@dataclass(frozen=True)
class Quantisation(ModelAttack):
    """Round the weights to 8 or 4 bits, simulated in floating point, and measure again.

    Linear layers and convolutions except the output head; embeddings, norms and biases stay. `int8`: a scale a row;
    `int4`: a scale a group of 64 along the input; `nf4`: 16 levels at normal quantiles, a scale a block of 64.

    Report forget measures beside retain measures: where both fall, the model is damaged and nothing came back.

    Source: METRICS.md §12; nf4: Dettmers et al. 2023, arXiv:2305.14314, appendix E, with its authors' constant q.
    **Differs**: convolutions are rounded too, as matrices (out, in · height · width), or image classifiers would keep
    nearly all their weights; expert weights held as one three-dimensional parameter are not.
    """

    kinds: tuple[str, ...] = ("int8", "int4", "nf4")
    """Which roundings."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise unknown("rounding", kind, KINDS)

    def run(self, target: Target) -> Attacked:
        """Forget, retain, holdout and test examples under each rounding."""
        chosen = {name: encoded for name, encoded in target.reported.items() if name in SETS}
        records = {}
        for kind in self.kinds:
            with quantised(target.model, kind):
                records[kind] = {name: target.score(encoded) for name, encoded in chosen.items()}
        return Attacked(records=records)

    def compare(self, attacked: Mapping[str, Attacked], compared: Compared) -> Findings:
        """The usual measures, rounding by rounding."""
        before = measured(compared.plain, compared)
        figures = [
            each
            for kind, records in by_variant(attacked).items()
            for each in measured_figures(kind, records, compared, before)
        ]
        return Findings(tuple(figures))


def int8(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Codes round(w/s), s = max|w|/127 of each row, half to even, clipped to ±127; and the weights they stand for.

    Args:
        matrix: (n, m), n outputs.

    Returns:
        Codes and values, both (n, m).

    >>> int8(torch.tensor([[0.5, -1.27, 0.01]]))[0].tolist()
    [[50.0, -127.0, 1.0]]
    """
    return _symmetric(matrix, 127)


def int4(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`int8` with s = max|w|/7 of each group of 64 along the input, clipped to ±7; the last may be shorter.

    Args:
        matrix: (n, m), n outputs.

    Returns:
        Codes and values, both (n, m).

    >>> int4(torch.tensor([[0.5, -1.27, 0.01]]))[0].tolist()
    [[3.0, -7.0, 0.0]]
    """
    rows, width = matrix.shape
    grouped = functional.pad(matrix, (0, -width % GROUP)).reshape(-1, GROUP)
    found = _symmetric(grouped, 7)
    return tuple(part.reshape(rows, -1)[:, :width] for part in found)  # pyright: ignore[reportReturnType]


def nf4(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest of 16 levels (the lower of two as near) times the largest |w| of each block of 64 weights.

    Blocks run through the matrix row by row; the last may be shorter.

    Args:
        matrix: (n, m).

    Returns:
        Codes 0 … 15 and values, both (n, m).
    """
    blocks = functional.pad(matrix.reshape(-1), (0, -matrix.numel() % GROUP)).reshape(-1, GROUP)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    levels = torch.tensor(nf4_levels(), dtype=matrix.dtype, device=matrix.device)
    middles = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(blocks / torch.where(scale > 0, scale, 1.0), middles)
    values = levels[codes] * scale
    return tuple(part.reshape(-1)[: matrix.numel()].reshape(matrix.shape) for part in (codes, values))  # pyright: ignore[reportReturnType]


KINDS = {"int8": int8, "int4": int4, "nf4": nf4}


@cache
def nf4_levels() -> tuple[float, ...]:
    """The 16 levels from −1 to 1: Φ⁻¹ at 8 of 9 points from q to ½, −Φ⁻¹ at 7 of 8, and 0, over the largest.

    >>> [round(level, 4) for level in nf4_levels()][:3]
    [-1.0, -0.6962, -0.5251]
    """
    positive = norm.ppf(torch.linspace(OFFSET, 0.5, 9, dtype=torch.float64)[:-1].numpy())
    negative = -norm.ppf(torch.linspace(OFFSET, 0.5, 8, dtype=torch.float64)[:-1].numpy())
    levels = sorted([*positive.tolist(), 0.0, *negative.tolist()])
    return tuple(level / levels[-1] for level in levels)


@contextmanager
def quantised(model: nn.Module, kind: str) -> Iterator[nn.Module]:
    """Inside, the model's weights are rounded; afterwards they are what they were, bit for bit.

    Args:
        model: without adapter (merge it first).
        kind: ``int8``, ``int4`` or ``nf4``.

    Raises:
        InputError: there is no such rounding, or nothing to round.
    """
    if kind not in KINDS:
        raise unknown("rounding", kind, KINDS)
    layers = rounded_layers(model)
    if not layers:
        raise InputError(f"{type(model).__name__} has no layer to round besides its head")
    before = {name: _weight(layer).clone() for name, layer in layers.items()}
    try:
        with torch.no_grad():
            for layer in layers.values():
                _weight(layer).copy_(_rounded(layer, kind))
        yield model
    finally:
        with torch.no_grad():
            for name, layer in layers.items():
                _weight(layer).copy_(before[name])


def rounded_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Linear layers and convolutions by name, without the output head and whatever shares its weight."""
    head = head_of(model)
    kept = None if head is None else head.weight
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D | _ConvNd) and module.weight is not kept
    }


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _rounded(layer: nn.Module, kind: str) -> Tensor:
    weight = _weight(layer)
    if isinstance(layer, Conv1D):  # (in, out)
        return KINDS[kind](weight.T)[1].T
    return KINDS[kind](weight.flatten(1))[1].reshape(weight.shape)


def _symmetric(matrix: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    scale = matrix.abs().amax(dim=1, keepdim=True) / largest
    codes = torch.round(matrix / torch.where(scale > 0, scale, 1.0)).clamp(-largest, largest)
    return codes, codes * scale
