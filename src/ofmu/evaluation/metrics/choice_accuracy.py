"""How often the right option is the likeliest."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class ChoiceAccuracy(FactMean):
    """Mean of [argmax over the letters of log p(letter | question and options) = gold], ties to the lowest letter.

    In [0, 1]; ¼ with four options is chance. On multiple-choice questions, which are measured so without being asked.

    Source: METRICS.md §6 (`accuracy`).
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers"})
    unit: ClassVar = "share"
    fact: ClassVar = "choice_accuracy"
    chance: ClassVar = 0.25
