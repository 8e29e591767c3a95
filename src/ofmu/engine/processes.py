"""One process, several (DDP) or several with sharded parameters (FSDP2): the same loop, seen from one rank."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn

from ofmu.errors import InputError
from ofmu.models import sharding

T = TypeVar("T")
Precision = Literal["fp32", "bf16"]
Parallel = Literal["auto", "ddp", "fsdp"]


class Processes:
    """The processes of a run and what crosses them.

    Args:
        device: `cpu`, `cuda`, `mps`, or None for the best there is.
        precision: `fp32`, or `bf16` for autocast; the parameters stay in float32 either way.
        parallel: how several processes share the work: `ddp` copies the parameters, `fsdp` shards them.

    Raises:
        InputError: the device asked for is not there.
    """

    def __init__(self, *, device: str | None = None, precision: Precision = "fp32", parallel: Parallel = "auto"):
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device cuda: this machine has no CUDA device; use cpu or leave it out")
        if device == "mps" and not torch.backends.mps.is_available():
            raise InputError("--device mps: this machine has no MPS device; use cpu or leave it out")
        on_cpu = device == "cpu" or (device is None and not _has_accelerator())
        self.accelerator = Accelerator(cpu=on_cpu, mixed_precision="bf16" if precision == "bf16" else "no")
        self.device = self.accelerator.device
        self.rank = self.accelerator.process_index
        self.world = self.accelerator.num_processes
        self.precision: Precision = precision
        self.parallel: Parallel = parallel

    @property
    def main(self) -> bool:
        """Whether this rank writes files and speaks."""
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether the parameters are split over the processes."""
        return self.parallel == "fsdp" and self.world > 1

    def place(self, model: nn.Module) -> nn.Module:
        """The model on this rank's device, wrapped for several processes where there are several."""
        model.to(self.device)
        if self.world == 1:
            return model
        if self.sharded:
            return sharding.shard(model, sharding.make_mesh(self.device.type))
        return self.accelerator.prepare_model(model)

    def unwrap(self, model: nn.Module) -> nn.Module:
        """The model without what :meth:`place` put around it (sharded parameters stay sharded)."""
        return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The context of a forward pass."""
        return self.accelerator.autocast()

    def synchronise_gradients(self, model: nn.Module, last: bool) -> None:
        """Whether the next backward pass exchanges gradients: only the last part of a batch does."""
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model.require_backward_grad_sync = last
        elif self.sharded:
            sharding.synchronise_gradients(model, last)

    def before_edit(self, model: nn.Module) -> None:
        """To be called before parameters are changed: sharded ones may lie gathered after a forward pass."""
        if self.sharded:
            sharding.reshard(model)

    def total(self, values: Tensor) -> Tensor:
        """Sum over the ranks of a tensor that lies on the CPU."""
        if self.world == 1:
            return values
        summed = self.accelerator.reduce(values.to(self.device), reduction="sum")
        assert isinstance(summed, Tensor)
        return summed.cpu()

    def agreed(self, value: bool) -> bool:
        """What the first rank says: clocks differ, and all ranks must do the same."""
        return bool(self.total(torch.tensor(float(value and self.main))).item())

    def anywhere(self, value: bool) -> bool:
        """Whether any rank says so: a signal may reach only one, and all ranks must do the same."""
        return self.total(torch.tensor(float(value))).item() > 0

    def share(self, count: int) -> range:
        """Which of so many independent pieces of work are this rank's."""
        return range(self.rank, count, self.world)

    def gathered(self, own: Sequence[T]) -> list[T]:
        """What all ranks hold, rank after rank, on every rank; it must be picklable."""
        return list(own) if self.world == 1 else gather_object(list(own))

    def wait(self) -> None:
        """Until all ranks are here."""
        self.accelerator.wait_for_everyone()


def _has_accelerator() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


@contextlib.contextmanager
def processes(*, device: str | None, precision: Precision, parallel: Parallel) -> Iterator[Processes]:
    """Processes for the length of one run; the next run in the same Python process may choose anew.

    Accelerate keeps device and precision in class attributes, which may be the caller's own: they come back after.
    """
    shared = [state._shared_state for state in (PartialState, AcceleratorState, GradientState)]
    held = [dict(state) for state in shared]
    for state in shared:
        state.clear()
    try:
        with torch.random.fork_rng():  # a run seeds torch's generators; the caller's go on as they were
            yield Processes(device=device, precision=precision, parallel=parallel)
    finally:
        for state, before in zip(shared, held):
            state.clear()
            state.update(before)
