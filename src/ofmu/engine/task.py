"""What a method asks for: batches, losses, gradients, levels. It never sees devices, files or libraries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ofmu.engine.checks import Check, per_example
from ofmu.engine.forward import Batch, rows
from ofmu.engine.goal import RUNNING, Goal
from ofmu.engine.levels import Floats, Levels
from ofmu.engine.loss import Draw
from ofmu.engine.token_losses import token_losses
from ofmu.engine.work import Work
from ofmu.losses.rows import Rows

WATCHED = 128
"""Most examples of each side that a check looks at."""


@dataclass
class Task(Work):
    """One unlearning to be done, on one rank: `data` holds the sets `forget` and `retain`.

    The model is in evaluation mode: dropout is off, batch statistics are frozen.

    Args:
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

    chance: float
    watch_forget: Draw
    watch_retain: Draw
    levels: Levels | None = None
    removed: Tensor | None = None
    goal: Goal | None = None
    reference_model: nn.Module | None = None
    adapter_off: Callable[[], Any] | None = None
    reference_sums: Callable[[], dict[str, float]] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._retain_start: float | None = None
        self._running = 0

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

    def facts(
        self, chosen: Draw, facts: Callable[[Rows], Tensor] = Rows.nll_means, *, shape: tuple[int, ...] = ()
    ) -> Floats:
        """A fact of each chosen example, (n, *shape), by default its mean loss, counted as forward passes."""
        return per_example(
            self.model,
            chosen.data,
            chosen.indices,
            facts,
            shape=shape,
            processes=self.processes,
            meter=self.meter,
            part_size=max(self.part_size, 16),
        )

    def token_losses(self, chosen: Draw) -> list[Floats]:
        """The losses of the scored tokens of each chosen example, in nats, counted as forward passes."""
        return token_losses(
            self.model,
            chosen,
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

    def state_dict(self) -> dict[str, Any]:
        """Also what the checks remember."""
        return {**super().state_dict(), "retain_start": self._retain_start, "running": self._running}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        super().load_state_dict(state)
        self._retain_start, self._running = state["retain_start"], state["running"]


def choose(candidates: Sequence[int], most: int, seed: int) -> list[int]:
    """At most `most` of the candidates, drawn once by seed, in their order."""
    if len(candidates) <= most:
        return list(candidates)
    picked = np.random.Generator(np.random.Philox(seed)).choice(len(candidates), most, replace=False)
    return [candidates[k] for k in sorted(picked)]
