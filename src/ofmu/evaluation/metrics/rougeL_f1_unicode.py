"""As ROUGE-L, in words of any script."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class RougeLF1Unicode(FactMean):
    """ROUGE-L F1 = 2PR/(P + R) of greedy answers, in words of any script, NFKC, not stemmed; mean over examples.

    `rougeL_f1` knows the letters a to z alone: "Zürich" is "z" and "rich" there, and a text in another script is no
    text. A second form of that one, which the verdict counts. In [0, 1].

    Source: METRICS.md §2.4.
    """

    better: ClassVar = "up"
    unit: ClassVar = "share"
    judged: ClassVar = False
    fact: ClassVar = "rougeL_f1_unicode"
