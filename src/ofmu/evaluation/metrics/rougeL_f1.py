"""How close the model's own answer is to the true one, both ways."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class RougeLF1(FactMean):
    """ROUGE-L F1 = 2PR/(P + R), P = LCS/|answer|, R = LCS/|reference|, Porter-stemmed; mean over examples, in [0, 1].

    Source: METRICS.md §2.4.
    """

    better: ClassVar = "up"
    unit: ClassVar = "share"
    fact: ClassVar = "rougeL_f1"
