"""The least likely tokens of an answer, for the min-k attacks."""

from __future__ import annotations

import numpy as np

from ofmu.evaluation.attack_scores import K
from ofmu.evaluation.record import Record
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.table import Values


def lowest(record: Record, scores: Floats, share: float = K) -> Values:
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
