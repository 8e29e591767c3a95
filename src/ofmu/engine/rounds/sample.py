"""A sample of the weights, on which the diagnostics of a round are measured: their cost and memory are bounded."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ofmu.core.foreach import is_sharded
from ofmu.engine.task import Task

MOST = 1 << 18
"""Weights looked at, about; a smaller model is looked at whole. A cosine is then .01 or so off, as with four times as
many, at a quarter of the time."""


class Sample:
    """Every k-th entry of each tensor, k the same for all, so that each tensor has its share.

    Ratios of inner products on the sample estimate those of the whole vectors. They are float32 sums: good for a
    history, not for steps.

    Args:
        task: whose parameters are sampled.
        most: entries taken, about; a model of no more is taken whole.
    """

    def __init__(self, task: Task, most: int = MOST):
        self._processes = task.processes
        size = sum(p.numel() for p in task.parameters.values())
        self._stride = math.ceil(size / most)

    @property
    def sharded(self) -> bool:
        """Whether each rank holds a part of the sample."""
        return self._processes.sharded

    @torch.no_grad()
    def of(self, vector: Mapping[str, Tensor]) -> Tensor:
        """The sampled entries of a vector, or of the parameters themselves: (n,), a copy; on each rank its own."""
        return torch.cat([_local(x).reshape(-1)[:: self._stride] for x in vector.values()])

    def dots(self, *pairs: tuple[Tensor, Tensor]) -> list[float]:
        """⟨x, y⟩ of pairs of samples, over all ranks."""
        found = torch.stack([torch.dot(x, y) for x, y in pairs]).double().cpu()
        return (self._processes.total(found) if self.sharded else found).tolist()


def _local(x: Tensor) -> Tensor:
    return x.to_local() if is_sharded(x) else x
