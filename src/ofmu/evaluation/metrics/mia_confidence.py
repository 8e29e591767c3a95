"""Confidence attack: was this image trained on, judged by the probability of its label."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class MiaConfidence(Attack):
    """a(z) = −log p_y; AUC of D_f against images that no model was trained on: holdout, else test set.

    In [0, 1], as retrained. Differs: ranks by −log p_y and not by −p_y, the same order, but images whose p_y
    rounds to 1 do not tie.

    Source: METRICS.md §8.
    """

    needs: ClassVar = frozenset({"holdout"})
    modality: ClassVar = "image"

    def values(self, record: Record) -> Values:
        """−log p_y of each image, in nats."""
        return Values(record.columns["nll"])
