"""A model under change: batches, losses and derivatives, on one rank of one or many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ofmu.core.derivatives import Derivatives, make
from ofmu.core.steps import NOISE
from ofmu.data.strata import Strata
from ofmu.data.streams import Stream
from ofmu.engine.forward import Encoded
from ofmu.engine.loss import BatchLoss, Draw, Reduction, Values
from ofmu.engine.meter import Meter
from ofmu.engine.pace import Pace
from ofmu.engine.processes import Processes


@dataclass
class Work:
    """What every training shares.

    Args:
        model: the placed model.
        parameters: its trainable parameters by name; changed in place.
        data: name → examples that batches are drawn from, each by a stream of its own.
        processes: the ranks.
        pace: step sizes and length.
        batch_size: examples of one batch, over all ranks.
        part_size: examples of one forward pass on one rank.
        seed: of the streams.
        strata: name → groups of a set's examples that batches are drawn from in equal parts, asked for at the first
            draw; the examples of other sets are drawn all alike.
    """

    model: nn.Module
    parameters: dict[str, Tensor]
    data: dict[str, Encoded]
    processes: Processes
    pace: Pace
    batch_size: int
    part_size: int
    seed: int
    strata: Mapping[str, Callable[[], Sequence[Sequence[int]]]] = field(default_factory=dict, kw_only=True)
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.batch_size)
        self._streams: dict[str, Stream | Strata] = {}

    def draw(self, name: str) -> Draw:
        """The next batch of a set, shuffled without replacement; no larger than the set."""
        if name not in self._streams:
            groups = self.strata[name]() if name in self.strata else None
            self._streams[name] = self._stream(name, groups)
        return Draw(self.data[name], tuple(self._streams[name].next()))

    def _stream(self, name: str, groups: Sequence[Sequence[int]] | None) -> Stream | Strata:
        count, seed = len(self.data[name].ids), self.seed + list(self.data).index(name)
        size = min(self.batch_size, count)
        return Stream(count, size, seed) if groups is None else Strata(groups, size, seed)

    def loss(self, values: Values, draw: Draw, per: Reduction, *, part_size: int | None = None) -> BatchLoss:
        """The loss (1/N) Σ_i f_i of a drawn batch; N counts tokens or examples of the whole batch.

        Parts have at most the task's size, and at most `part_size` examples where that is given.
        """
        return BatchLoss(
            self.model,
            values,
            draw,
            per=per,
            processes=self.processes,
            meter=self.meter,
            part_size=min(self.part_size, part_size or self.part_size),
        )

    def derivatives(self, name: str = "finite_difference") -> Derivatives:
        """A derivative back-end on the trained parameters."""
        return make(
            name,
            self.parameters,
            buffers=dict(self.model.named_buffers()),
            before_edit=self.before_edit,
            **({"noise": NOISE[torch.bfloat16]} if self.processes.precision == "bf16" else {}),
        )

    def before_edit(self) -> None:
        """To be called before parameters are changed by hand."""
        self.processes.before_edit(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Positions in the streams, pace and meter."""
        return {
            "streams": {name: stream.state_dict() for name, stream in self._streams.items()},
            "pace": self.pace.state_dict(),
            "meter": self.meter.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._streams = {}
        for name, found in state["streams"].items():
            self._streams[name] = self._stream(name, found.get("strata"))
            self._streams[name].load_state_dict(found)
        self.pace.load_state_dict(state["pace"])
        self.meter.load_state_dict(state["meter"])
