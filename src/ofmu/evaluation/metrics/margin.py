"""How far a classifier puts the label of an image above all other classes."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class Margin(SetMean):
    """φ = logit_y − log Σ_{j≠y} exp(logit_j) = log(p_y/(1−p_y)); mean over the images of the forget set.

    In nats, any sign. Best as retrained.

    Source: METRICS.md §8; a part of the forgetting gap (§9).
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "image"
    unit: ClassVar = "nats"
    measured_on: ClassVar = ("forget",)

    def values(self, record: Record) -> Values:
        """Margin of each image."""
        return Values(record.columns["margin"])
