"""Mean loss of a set's examples."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class Loss(SetMean):
    """λ = L/T, the mean −log p of an example's scored tokens; mean over examples.

    In nats, ≥ 0. Down on what should stay; on the forget set best as the retrained model: a higher loss than
    that is over-forgetting, and visible. For an image, −log p of its label.

    Source: METRICS.md §0 and §2.1.
    """

    better: ClassVar = "down"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "any"
    unit: ClassVar = "nats"

    def values(self, record: Record) -> Values:
        """λ of each example."""
        return Values(record.means("nll"))
