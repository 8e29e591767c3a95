"""How much the model's answers repeat themselves."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class Rep4(FactMean):
    """1 − distinct/total 4-grams of an answer; mean over examples, in [0, 1). Gibberish is not forgetting.

    Source: METRICS.md §2.9.
    """

    better: ClassVar = "down"
    unit: ClassVar = "share"
    fact: ClassVar = "rep4"
