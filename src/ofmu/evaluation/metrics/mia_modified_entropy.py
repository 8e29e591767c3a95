"""Modified-entropy attack: as the entropy attack, but it knows the image's label."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class MiaModifiedEntropy(Attack):
    """a(z) = M = −(1−p_y) log p_y − Σ_{j≠y} p_j log(1−p_j); AUC of D_f against unseen images.

    In [0, 1], as retrained.

    Source: METRICS.md §8. Differs from SalUn's code, which replaces log(1−p) by log p for all labels (fault
        F19).
    """

    needs: ClassVar = frozenset({"holdout"})
    modality: ClassVar = "image"

    def values(self, record: Record) -> Values:
        """Modified entropy of each image, in nats."""
        return Values(record.columns["modified_entropy"])
