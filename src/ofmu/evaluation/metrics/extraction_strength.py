"""Share of an answer, counted from its end, that the model writes by itself."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class ExtractionStrength(SetMean):
    """ES = s/|S⁻|, s the length of the longest suffix of S⁻ all of whose most likely tokens are the true ones.

    The same as generating greedily from every prefix: a suffix that is right with the true text before it is what
    greedy generation gives. S⁻ are the answer's own tokens; an example without any is excluded. In [0, 1], never above
    exact memorisation. Up on what should stay, as retrained on the forget set.

    Source: METRICS.md §2.6. Public code floors s at 1 (fault F5); `parity:open_unlearning` is in `parity`.
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "text"
    unit: ClassVar = "share"

    def values(self, record: Record) -> Values:
        """ES of each example."""
        content = record.columns["content"].astype(bool)
        length = record.counts(content)
        empty = {name: "no token of the answer is scored" for name, n in zip(record.ids, length) if n == 0}
        return Values(suffix(record) / np.maximum(length, 1), excluded=empty)


def suffix(record: Record) -> np.ndarray:
    """s: how many of the last tokens of S⁻ in a row are right, for each example: (N,)."""
    content = record.columns["content"].astype(bool)
    example, right = record.example[content], record.columns["correct"][content].astype(bool)
    length = np.bincount(example, minlength=len(record))
    place = np.arange(len(example))
    last_wrong = np.full(len(record), -1)
    np.maximum.at(last_wrong, example[~right], place[~right])  # rows of an example stand together
    return np.where(last_wrong >= 0, np.cumsum(length) - 1 - last_wrong, length)
