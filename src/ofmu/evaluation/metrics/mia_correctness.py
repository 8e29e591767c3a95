"""Correctness attack: was this image trained on, judged by whether the model gives its label."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class MiaCorrectness(Attack):
    """a(z) = 1 − [argmax = y]; AUC of D_f against images that no model was trained on.

    In [0, 1], as retrained. Equal to ½ + (accuracy on D_f − accuracy on the others)/2.

    Source: METRICS.md §8.
    """

    needs: ClassVar = frozenset({"holdout"})
    modality: ClassVar = "image"

    def values(self, record: Record) -> Values:
        """0 for an image given its label, else 1."""
        return Values((record.columns["predicted"] != record.columns["label"]).astype(np.float64))
