"""The cosine of the two gradients without the bias of batch noise.

Noise of the batches, σ_f and σ_r, adds to the norms and not to the inner product, so that c of two batches tends to 0:

    E ĉ ≈ c/√((1 + σ_f²/a²)(1 + σ_r²/b²))

Inner products of gradients of two independent batches have no such bias; with them in the place of the squared norms

    ĉ = ⟨g_f, g_r⟩/√(⟨g_f¹, g_f²⟩⟨g_r¹, g_r²⟩)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, final

import torch
from torch import Tensor

from ofmu.core.vector import Vector
from ofmu.engine.loss import BatchLoss
from ofmu.engine.rounds.losses import Pair
from ofmu.engine.rounds.sample import Sample
from ofmu.engine.task import Task

Side = Literal["forget", "retain"]

DECAY = 0.9
"""Of the moving means: about ten rounds are remembered."""


def debiased_cosine(cross: float, forget: float, retain: float) -> float | None:
    """Cosine from inner products of independent estimates of the two gradients.

    Args:
        cross: ⟨g_f, g_r⟩, of different batches.
        forget: ⟨g_f¹, g_f²⟩, of two independent batches.
        retain: ⟨g_r¹, g_r²⟩, likewise.

    Returns:
        An estimate that may lie beyond ±1; None where noise hides a gradient altogether.

    >>> debiased_cosine(0.3, 1.0, 0.25), debiased_cosine(0.3, -0.1, 0.25)
    (0.6, None)
    """
    return cross / (forget * retain) ** 0.5 if forget > 0 and retain > 0 else None


class Conflict(ABC):
    """Watches the gradients of a round and estimates their cosine."""

    def watch(self, side: Side, pair: Pair) -> None:  # noqa: B027 (only halves look into a batch)
        """The gradient of that side of the pair is about to be computed."""

    @abstractmethod
    def see(self, side: Side, gradient: Vector) -> None:
        """The gradient was computed."""

    @abstractmethod
    def cosine(self) -> float | None:
        """The estimate of the round, from the last gradient seen of each side; None where there is none yet."""

    def state_dict(self) -> dict[str, Any]:
        """What later estimates depend on, taken between rounds."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (halves remember nothing)
        """Go on from a checkpoint."""


@final
class Unwatched(Conflict):
    """Nothing is estimated."""

    def see(self, side: Side, gradient: Vector) -> None:
        """Nothing is kept."""

    def cosine(self) -> None:
        """None."""


@final
class Moving(Conflict):
    """Against moving means m of earlier rounds' gradients, which other batches made: no gradient more.

        cross = (⟨g_f, m_r⟩ + ⟨m_f, g_r⟩)/2,   ⟨g_f, m_f⟩ and ⟨g_r, m_r⟩ in the place of the squared norms

    The two halves of ``cross`` err in opposite ways while one norm grows; what they leave is second order in its
    growth over ten rounds. A gradient that turns faster than that looks like noise.
    """

    def __init__(self, sample: Sample):
        self._sample = sample
        self._now: dict[Side, Tensor] = {}
        self._mean: dict[Side, Tensor] = {}

    def see(self, side: Side, gradient: Vector) -> None:
        """Keep it until the round ends."""
        self._now[side] = self._sample.of(gradient)

    def cosine(self) -> float | None:
        """The estimate; then both gradients of the round join the means."""
        estimate = None
        if len(self._now) == len(self._mean) == 2:
            f, r, m_f, m_r = self._now["forget"], self._now["retain"], self._mean["forget"], self._mean["retain"]
            one, other, forget, retain = self._sample.dots((f, m_r), (m_f, r), (f, m_f), (r, m_r))
            estimate = debiased_cosine((one + other) / 2, forget, retain)
        for side, found in self._now.items():
            held = self._mean.get(side)
            self._mean[side] = found if held is None else held.lerp_(found, 1 - DECAY)
        self._now.clear()
        return estimate

    def state_dict(self) -> dict[str, Any]:
        """The means; none where parameters are sharded, since each rank has means of its own: they begin anew."""
        return {"mean": {} if self._sample.sharded else dict(self._mean)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._mean = dict(state["mean"])


@final
class Halves(Conflict):
    """From the two halves of the round's own batches, between the parts in which a batch is evaluated.

    Needs gradients that gather in ``.grad``, in one process.
    """

    def __init__(self, sample: Sample, task: Task):
        self._sample, self._task = sample, task
        self._loss: dict[Side, BatchLoss] = {}
        self._half: dict[Side, Tensor] = {}
        self._whole: dict[Side, Tensor] = {}

    def watch(self, side: Side, pair: Pair) -> None:
        """Look at ``.grad`` when half of the parts have been evaluated for the first time."""
        self._loss[side] = loss = pair.forget if side == "forget" else pair.retain
        loss.at_half(lambda: self._take(side))

    def _take(self, side: Side) -> None:
        gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in self._task.parameters.items()}
        self._half[side] = self._sample.of(gradients)

    def see(self, side: Side, gradient: Vector) -> None:
        """The whole batch's gradient: what it has more than the first half is the second half's."""
        self._whole[side] = self._sample.of(gradient)

    def cosine(self) -> float | None:
        """W9's ratio; None where a batch is of a single example."""
        pairs = []
        for side in ("forget", "retain"):
            if side not in self._half or side not in self._whole:
                return None
            share = self._loss[side].first_half
            first, second = self._half[side] / share, (self._whole[side] - self._half[side]) / (1 - share)
            pairs.append((first, second))
        cross, forget, retain = self._sample.dots((self._whole["forget"], self._whole["retain"]), *pairs)
        self._half.clear()
        self._whole.clear()
        return debiased_cosine(cross, forget, retain)


def conflict_of(debias: Literal["moving", "halves", "off"], sample: Sample, task: Task) -> Conflict:
    """The estimator of that name."""
    return {"moving": lambda: Moving(sample), "halves": lambda: Halves(sample, task), "off": Unwatched}[debias]()
