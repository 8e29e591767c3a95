"""How much of the true answer the model's own answer contains."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class RougeLRecall(FactMean):
    """ROUGE-L recall = LCS/|reference| of greedy answers, Porter-stemmed; mean over examples.

    Never falls when text is appended: read F1, length and the share cut by the token limit beside it. In [0, 1]; up on
    what should stay, as retrained on the forget set.

    Source: METRICS.md §2.4; the number of both public TOFU harnesses.
    """

    better: ClassVar = "up"
    unit: ClassVar = "share"
    fact: ClassVar = "rougeL_recall"
