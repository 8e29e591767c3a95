"""When forgetting is finished: the forget losses have their levels' distribution, or a class is gone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ofmu.engine.levels import Floats, Levels, agreement
from ofmu.losses.rows import Rows

ENOUGH = 0.1
"""Kolmogorov–Smirnov p above which forget losses and levels are taken to agree."""

NEAR = 0.75
"""Progress that the goal demands besides: a distribution can agree by chance, above all with few examples."""

RUNNING = 2
"""Checks in a row that must find the goal reached."""


class Goal(ABC):
    """What the watched forget examples must come to; `start` holds their facts before unlearning."""

    start: Floats

    @abstractmethod
    def facts(self, rows: Rows) -> Tensor:
        """What is watched of each example: (B,)."""

    @abstractmethod
    def progress(self, facts: Floats) -> float:
        """0 as at the start, 1 at the goal."""

    @abstractmethod
    def agreement(self, facts: Floats) -> float | None:
        """p-value of forget losses against levels; None for a goal without levels."""

    @abstractmethod
    def reached(self, facts: Floats) -> bool:
        """Whether this check finds the goal reached."""

    @abstractmethod
    def past(self, forget_loss: float) -> bool:
        """Whether the watched examples' mean loss, in nats, is beyond what the goal asks for."""


@dataclass(frozen=True)
class LevelGoal(Goal):
    """The losses of the watched forget examples have the distribution of their levels.

    Args:
        levels: the level of every forget example.
        ids: ids of the watched examples.
        start: (n,), their losses before unlearning.
    """

    levels: Levels
    ids: tuple[str, ...]
    start: Floats

    def facts(self, rows: Rows) -> Tensor:
        """A_i, the mean loss of an example's scored rows, in nats."""
        return rows.nll_means()

    def progress(self, facts: Floats) -> float:
        """1 − mean |A_i − L_i| / mean |A_i⁰ − L_i|."""
        levels = np.array(self.levels.of(self.ids))
        distance = np.abs(self.start - levels).mean()
        return 1.0 if distance == 0 else float(1 - np.abs(facts - levels).mean() / distance)

    def agreement(self, facts: Floats) -> float:
        """Two-sample Kolmogorov–Smirnov p-value of the losses against the levels."""
        return agreement(facts, np.array(self.levels.of(self.ids)))

    def reached(self, facts: Floats) -> bool:
        """Whether the distributions agree now, and the examples have come near to their own levels."""
        return self.agreement(facts) > ENOUGH and self.progress(facts) >= NEAR

    def past(self, forget_loss: float) -> bool:
        """Whether the mean loss is above the mean level."""
        return forget_loss > float(np.mean(self.levels.of(self.ids)))


@dataclass(frozen=True)
class RemovalGoal(Goal):
    """The watched images are predicted as a removed class no more often than by chance.

    Args:
        removed: (K,) bool, the classes to remove.
        chance: their share of all classes.
        start: (n,) 0/1, whether each was predicted as a removed class before unlearning.
    """

    removed: Tensor
    chance: float
    start: Floats

    def facts(self, rows: Rows) -> Tensor:
        """1 where the prediction is a removed class, else 0."""
        return predicted_as(rows, self.removed)

    def progress(self, facts: Floats) -> float:
        """Share of the way from the share predicted at the start down to chance."""
        distance = float(self.start.mean()) - self.chance
        return 1.0 if distance <= 0 else float((self.start.mean() - facts.mean()) / distance)

    def agreement(self, facts: Floats) -> None:
        """There is no level to agree with."""

    def reached(self, facts: Floats) -> bool:
        """Whether the share predicted as a removed class is down to chance."""
        return float(facts.mean()) <= self.chance

    def past(self, forget_loss: float) -> bool:
        """Never: no push goes beyond chance."""
        return False


def predicted_as(rows: Rows, removed: Tensor) -> Tensor:
    """1 where the prediction is one of the classes `removed` (K,) bool, else 0: (B,)."""
    return removed.to(rows.logits.device)[rows.logits.argmax(dim=1)].to(torch.float32)
