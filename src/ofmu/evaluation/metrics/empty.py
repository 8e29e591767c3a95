"""How often the model answers nothing."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class Empty(FactMean):
    """Share of greedy answers without a word, in [0, 1]. Silence is not forgetting.

    Source: METRICS.md §2.9.
    """

    better: ClassVar = "down"
    unit: ClassVar = "share"
    fact: ClassVar = "empty"
