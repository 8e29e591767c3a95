"""Min-k attack: was this text trained on, judged by its least likely tokens."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.table import Values

SHARE = 0.4
"""k: the share of an answer's tokens that is looked at."""


class MiaMinK(Attack):
    """a(z) = −mean of the lowest m log p over S⁻, m = max(1, ⌊.4 T⌋); AUC of D_f against D_h.

    An example without a token in S⁻ is excluded (public code calls it the strongest member).

    Source: METRICS.md §4.
    """

    needs: ClassVar = frozenset({"answers", "holdout"})
    modality: ClassVar = "text"

    def values(self, record: Record) -> Values:
        """−mean of the lowest log p of each example."""
        return lowest(record, -record.columns["nll"])


def lowest(record: Record, scores: Floats, share: float = SHARE) -> Values:
    """−mean of the lowest m = max(1, ⌊share · T⌋) scores over S⁻ of each example, from scores (R,)."""
    content = record.columns["content"].astype(bool)
    length = record.counts(content)
    order = np.lexsort((scores[content], record.example[content]))
    ordered, example = scores[content][order], record.example[content][order]
    taken = np.maximum(1, np.floor(share * length)).astype(np.int64)
    starts = np.cumsum(length) - length
    among = np.arange(len(ordered)) - starts[example] < taken[example]
    sums = np.bincount(example[among], weights=ordered[among], minlength=len(record))
    empty = {name: "no token of the answer is scored" for name, n in zip(record.ids, length) if n == 0}
    return Values(-sums / taken, excluded=empty)
