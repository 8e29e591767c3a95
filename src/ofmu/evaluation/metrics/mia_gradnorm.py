"""Gradient attack: examples that were trained on have small gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.table import Values, fact


class MiaGradnorm(Attack):
    """a(z) = ‖∇ mean −log p over S⁻‖₂ over all parameters, in float32 and evaluation mode; AUC of D_f against D_h.

    Measured only on request: it needs a backward pass an example.

    Source: METRICS.md §4. Public code takes the mean of the tensors' norms, in training mode, in bfloat16.
    """

    needs: ClassVar = frozenset({"answers", "holdout"})
    modality: ClassVar = "text"

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance where gradients were measured."""
        return [cls()] if any("gradnorm" in record.facts for record in records.values()) else []

    def values(self, record: Record) -> Values:
        """The gradient's norm of each example."""
        return fact(record, "gradnorm")
