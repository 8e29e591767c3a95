"""Share of an answer's tokens that the model would itself write next."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class ExactMemorization(SetMean):
    """EM = mean over S⁻ of [argmax_v p(v | x, y_<t) = y_t], teacher-forced; mean over examples.

    S⁻ are the answer's own tokens, without the end-of-turn token; an example without any is excluded. In [0,
    1]. Up on what should stay, as retrained on the forget set.

    Source: METRICS.md §2.5.
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "text"
    unit: ClassVar = "share"

    def values(self, record: Record) -> Values:
        """EM of each example."""
        content = record.columns["content"].astype(bool)
        empty = record.counts(content) == 0
        reasons = {name: "no token of the answer is scored" for name, none in zip(record.ids, empty) if none}
        return Values(record.means("correct", where=content), excluded=reasons)
