"""Loss attack: was this text trained on, judged by how low its loss is."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class MiaLoss(Attack):
    """a(z) = λ over S, the mean −log p of the scored tokens; AUC of D_f against D_h.

    In [0, 1], as retrained: the holdout may be easier or harder than the forget set, and then a model that
    saw neither is not at .5.

    Source: METRICS.md §4; equal to the public open-unlearning number.
    """

    needs: ClassVar = frozenset({"answers", "holdout"})
    modality: ClassVar = "text"

    def values(self, record: Record) -> Values:
        """λ of each example, in nats."""
        return Values(record.means("nll"))
