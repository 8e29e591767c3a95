"""Min-k attack: was this text trained on, judged by its least likely tokens."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.lowest import lowest
from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


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
