"""Entropy attack: was this image trained on, judged by how sure the model is of any class."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class MiaEntropy(Attack):
    """a(z) = H = −Σ_j p_j log p_j; AUC of D_f against images that no model was trained on.

    In [0, 1], as retrained.

    Source: METRICS.md §8.
    """

    needs: ClassVar = frozenset({"holdout"})
    modality: ClassVar = "image"

    def values(self, record: Record) -> Values:
        """Entropy of each image, in nats."""
        return Values(record.columns["entropy"])
