"""Probability of the right option among the options."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class ProbGold(FactMean):
    """Softmax over the options' log p, at the right one; mean over questions, in (0, 1); ¼ with four options is chance.

    Moves before the accuracy does. Source: METRICS.md §6.
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers"})
    unit: ClassVar = "probability"
    fact: ClassVar = "prob_gold"
    chance: ClassVar = 0.25
