"""How unsure a classifier is of the images that it should forget."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class Entropy(SetMean):
    """H = −Σ_j p_j log p_j; mean over the images of the forget set.

    In nats, from 0 to log K. Best as retrained.

    Source: METRICS.md §8; a part of the forgetting gap (§9).
    """

    better: ClassVar = "down"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "image"
    unit: ClassVar = "nats"
    measured_on: ClassVar = ("forget",)

    def values(self, record: Record) -> Values:
        """Entropy of each image."""
        return Values(record.columns["entropy"])
