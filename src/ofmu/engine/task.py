"""What a method asks for: batches, losses, gradients, levels. It never sees devices, files or libraries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ofmu.core.derivatives import Derivatives, make
from ofmu.data.streams import Stream
from ofmu.engine.checks import Check, per_example
from ofmu.engine.forward import Batch, Encoded, rows
from ofmu.engine.goal import RUNNING, Goal
from ofmu.engine.levels import Floats, Levels
from ofmu.engine.loss import BatchLoss, Draw, Reduction, Values
from ofmu.engine.meter import Meter
from ofmu.engine.pace import Pace
from ofmu.engine.processes import Processes
from ofmu.losses.rows import Rows

WATCHED = 256
"""Most examples of each side that a check looks at."""


@dataclass
class Task:
    """One unlearning to be done, on one rank.

    Args:
        model: the placed model, in evaluation mode (dropout off, batch statistics frozen).
        parameters: its trainable parameters by name; changed in place.
        forget: the examples to forget.
        retain: the examples to keep.
        processes: the ranks.
        pace: step sizes and length.
        batch_size: examples of one batch of each side, over all ranks.
        part_size: examples of one forward pass on one rank.
        seed: of both streams.
        chance: loss of a uniform guess, log K, in nats.
        watch_forget: what checks look at on the forget side.
        watch_retain: what they look at on the retain side (steering half).
        levels: the level of each forget example; None where there is none (whole classes removed).
        removed: (K,) bool, the classes to remove; None unless whole classes are.
        goal: when forgetting is finished; None if nothing is waited for.
        reference_model: the model before unlearning; None unless the method needs its distributions and the
            parameters trained are not an adapter that can be switched off.
        adapter_off: context in which a fresh adapter is switched off; None without one.
        reference_sums: the forget examples' token sums of the loss before unlearning, by id, computed once.
    """

    model: nn.Module
    parameters: dict[str, Tensor]
    forget: Encoded
    retain: Encoded
    processes: Processes
    pace: Pace
    batch_size: int
    part_size: int
    seed: int
    chance: float
    watch_forget: Draw
    watch_retain: Draw
    levels: Levels | None = None
    removed: Tensor | None = None
    goal: Goal | None = None
    reference_model: nn.Module | None = None
    adapter_off: Callable[[], Any] | None = None
    reference_sums: Callable[[], dict[str, float]] | None = None
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.batch_size)
        forget_size = min(self.batch_size, len(self.forget.ids))
        retain_size = min(self.batch_size, len(self.retain.ids))
        self._streams = {
            "forget": Stream(len(self.forget.ids), forget_size, self.seed),
            "retain": Stream(len(self.retain.ids), retain_size, self.seed + 1),
        }
        self._retain_start: float | None = None
        self._running = 0

    # Batches

    def draw_forget(self) -> Draw:
        """The next forget batch, shuffled without replacement."""
        return Draw(self.forget, tuple(self._streams["forget"].next()))

    def draw_retain(self) -> Draw:
        """The next retain batch, from a stream of its own."""
        return Draw(self.retain, tuple(self._streams["retain"].next()))

    # Losses and gradients

    def loss(self, values: Values, draw: Draw, per: Reduction) -> BatchLoss:
        """The loss (1/N) Σ_i f_i of a drawn batch; N counts tokens or examples of the whole batch."""
        return BatchLoss(
            self.model,
            values,
            draw,
            per=per,
            processes=self.processes,
            meter=self.meter,
            part_size=self.part_size,
        )

    def derivatives(self, name: str = "finite_difference") -> Derivatives:
        """A derivative back-end on the trained parameters."""
        return make(
            name,
            self.parameters,
            buffers=dict(self.model.named_buffers()),
            before_edit=self.before_edit,
            **({"noise": 1e-2} if self.processes.precision == "bf16" and name == "finite_difference" else {}),
        )

    def before_edit(self) -> None:
        """To be called before parameters are changed by hand."""
        self.processes.before_edit(self.model)

    def reference_logits(self, batch: Batch) -> Tensor:
        """Logits of the model before unlearning at the rows of a batch: (R, K), no gradient."""
        self.meter.forward_examples += len(batch.ids) * self.processes.world
        with torch.no_grad(), self.processes.autocast():
            if self.reference_model is not None:
                return rows(self.reference_model, batch).logits
            if self.adapter_off is None:
                raise RuntimeError("the method did not say that it needs a reference model")
            with self.adapter_off():
                return rows(self.model, batch).logits

    # Checks

    def facts(self, chosen: Draw, facts: Callable[[Rows], Tensor] = Rows.nll_means) -> Floats:
        """A fact of each chosen example, by default its mean loss, counted as forward passes."""
        return per_example(
            self.model,
            chosen.data,
            chosen.indices,
            facts,
            processes=self.processes,
            meter=self.meter,
            part_size=max(self.part_size, 16),
        )

    def check(self) -> Check:
        """Look at the watched examples; the first check defines the start."""
        seen = self.facts(self.watch_forget, Rows.nll_means if self.goal is None else self.goal.facts)
        retain = float(self.facts(self.watch_retain).mean())
        if self._retain_start is None:
            self._retain_start = retain
        room = max(self.chance - self._retain_start, 1e-6)
        reached = self.goal is not None and self.goal.reached(seen)
        self._running = self._running + 1 if reached else 0
        return Check(
            forget_loss=float(seen.mean()),
            retain_loss=retain,
            reached=reached,
            agreement=None if self.goal is None else self.goal.agreement(seen),
            progress=None if self.goal is None else self.goal.progress(seen),
            retain_excess=(retain - self._retain_start) / room,
        )

    @property
    def finished(self) -> bool:
        """Whether enough checks in a row have found the goal reached."""
        return self._running >= RUNNING

    # State

    def state_dict(self) -> dict[str, Any]:
        """Positions in the streams, pace, meter and what the checks remember."""
        return {
            "streams": {name: stream.state_dict() for name, stream in self._streams.items()},
            "pace": self.pace.state_dict(),
            "meter": self.meter.state_dict(),
            "retain_start": self._retain_start,
            "running": self._running,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, stream in self._streams.items():
            stream.load_state_dict(state["streams"][name])
        self.pace.load_state_dict(state["pace"])
        self.meter.load_state_dict(state["meter"])
        self._retain_start, self._running = state["retain_start"], state["running"]


def choose(candidates: Sequence[int], most: int, seed: int) -> list[int]:
    """At most `most` of the candidates, drawn once by seed, in their order."""
    if len(candidates) <= most:
        return list(candidates)
    picked = np.random.Generator(np.random.Philox(seed)).choice(len(candidates), most, replace=False)
    return [candidates[k] for k in sorted(picked)]
