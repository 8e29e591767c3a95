"""How many words of the true answer the model's own answer contains."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class Rouge1Recall(FactMean):
    """ROUGE-1 recall: matched words/|reference| of greedy answers, Porter-stemmed; mean over examples, in [0, 1].

    Source: METRICS.md §2.4.
    """

    better: ClassVar = "up"
    unit: ClassVar = "share"
    fact: ClassVar = "rouge1_recall"
