"""The loss of one drawn batch, evaluated in parts: this is gradient accumulation, on any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from ofmu.engine.forward import Batch, Encoded, rows
from ofmu.engine.meter import Meter
from ofmu.engine.processes import Processes
from ofmu.losses.rows import Rows

Reduction = Literal["tokens", "examples"]
Values = Callable[[Rows, Batch], Tensor]


@dataclass(frozen=True)
class Draw:
    """Indices drawn for one step from one data set, the same on every rank."""

    data: Encoded
    indices: tuple[int, ...]


class BatchLoss(Sequence[Callable[[], Tensor]]):
    """(1/N) Σ_i f_i over a drawn batch, as a sequence of parts that add up to it.

    N is the number of scored tokens (`tokens`) or of examples (`examples`) of the *whole* batch, so the result
    depends neither on the size of the parts nor on the number of processes.

    Args:
        model: the placed model.
        values: f: rows and batch of a part → (B,) values, one per example.
        draw: the batch.
        per: the reduction.
        processes: the ranks that share the batch.
        meter: counts what is spent.
        part_size: examples of one part on one rank.
    """

    def __init__(
        self,
        model: nn.Module,
        values: Values,
        draw: Draw,
        *,
        per: Reduction,
        processes: Processes,
        meter: Meter,
        part_size: int,
    ):
        self._model, self._values, self.draw, self._per = model, values, draw, per
        self._processes, self._meter = processes, meter
        self._count = sum(draw.data.counts[i] for i in draw.indices) if per == "tokens" else len(draw.indices)
        self._parts = list(_parts(draw.indices, processes.rank, processes.world, part_size))
        self._sums = [0.0] * len(self._parts)
        self._nlls = [0.0] * len(self._parts)
        self._at_half: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index):  # pyright: ignore[reportIncompatibleMethodOverride]
        if not 0 <= index < len(self._parts):
            raise IndexError(index)
        return Part(self, index)

    def at_half(self, then: Callable[[], None]) -> None:
        """Call `then` once: when, for the first time from now on, the first half of the parts has been differentiated.

        Nothing is called where there is only one part.
        """
        self._at_half = then if len(self._parts) > 1 else None

    @property
    def first_half(self) -> float:
        """Share of the loss's weight that the first half of the parts has, 0 … 1 (in one process)."""
        counts = self.draw.data.counts if self._per == "tokens" else None
        inside = [i for indices, _ in self._parts[: len(self._parts) // 2] for i in indices]
        return (len(inside) if counts is None else sum(counts[i] for i in inside)) / self._count

    def forward(self, index: int) -> tuple[Rows, Batch]:
        """The rows of a part, at the current parameters, and its batch."""
        if self._at_half is not None and index == len(self._parts) // 2 and torch.is_grad_enabled():
            then, self._at_half = self._at_half, None
            then()
        indices, weights = self._parts[index]
        batch = self.draw.data.batch(indices, weights).to(self._processes.device)
        self._processes.synchronise_gradients(self._model, last=index == len(self._parts) - 1)
        with self._processes.autocast():
            found = rows(self._model, batch)
        self._spend(index)
        return found, batch

    def value_of(self, index: int, found: Rows, batch: Batch) -> Tensor:
        """The value of a part from its rows."""
        value = (self._values(found, batch) * batch.weight).sum() / self._count
        self._nlls[index] = (found.nll_means().detach() * batch.weight).sum().item() / len(self.draw.indices)
        self._sums[index] = value.detach().item()
        return value * self._processes.world  # ranks average their gradients; the loss is a sum over them

    def _spend(self, index: int) -> None:
        """Count this part's share of the batch, the other ranks' share of it included."""
        share, rest = divmod(len(self.draw.indices), len(self._parts))
        spent = share + (rest if index == len(self._parts) - 1 else 0)
        if torch.is_grad_enabled():
            self._meter.gradient_examples += spent
        else:
            self._meter.forward_examples += spent

    @property
    def value(self) -> float:
        """The loss at its latest evaluation, over all ranks."""
        return self._total(self._sums)

    @property
    def nll(self) -> float:
        """Mean of the examples' mean losses A_i at the latest evaluation, over all ranks, in nats."""
        return self._total(self._nlls)

    def _total(self, parts: list[float]) -> float:
        return self._processes.total(torch.tensor(sum(parts), dtype=torch.float64)).item()


class Part:
    """One part of a batch's loss: a closure, and its two halves for Gauss–Newton products (``core.gauss_newton``)."""

    def __init__(self, loss: BatchLoss, index: int):
        self._loss, self._index = loss, index
        self._seen: tuple[Rows, Batch] | None = None

    def __call__(self) -> Tensor:
        """The part's value."""
        return self._loss.value_of(self._index, *self._loss.forward(self._index))

    def outputs(self) -> Tensor:
        """Logits of the part's rows: (R, K)."""
        self._seen = self._loss.forward(self._index)
        return self._seen[0].logits

    def criterion(self, outputs: Tensor) -> Tensor:
        """The part's value from logits like those that :meth:`outputs` gave last."""
        if self._seen is None:
            raise RuntimeError("outputs() comes before criterion()")
        found, batch = self._seen
        return self._loss.value_of(self._index, replace(found, logits=outputs), batch)


def _parts(indices: tuple[int, ...], rank: int, world: int, size: int) -> Iterator[tuple[list[int], list[float]]]:
    """This rank's share of a batch in parts of `size`; equal numbers of parts on all ranks.

    A rank that is an example short repeats its first one with weight 0.
    """
    mine = list(indices[rank::world])
    longest = len(indices[0::world])
    weights = [1.0] * len(mine) + [0.0] * (longest - len(mine))
    mine += [indices[0]] * (longest - len(mine))
    for start in range(0, longest, size):
        yield mine[start : start + size], weights[start : start + size]
