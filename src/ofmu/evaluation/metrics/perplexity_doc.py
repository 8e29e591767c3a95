"""Perplexity of each document by itself, and the mean of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from ofmu.evaluation.documents import LOSS, TOKENS
from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.table import Values, fact


class PerplexityDoc(SetMean):
    """Mean over plain texts of exp(L/T), each document as heavy as any other; in [1, ∞).

    One text that the model cannot read decides it, which is why `perplexity` weighs tokens. Down on what should stay,
    as retrained on the forget set. Where an exponential overflows there is no value.

    Source: METRICS.md §2.8 (`ppl_doc`).
    """

    better: ClassVar = "down"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "text"
    unit: ClassVar = "tokens"
    judged: ClassVar = False

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance for each set with documents."""
        found = {name for (_, name), record in records.items() if LOSS in record.facts}
        return [cls(name) for name in records.sets if name in found]

    def values(self, record: Record) -> Values:
        """exp(L/T) of each document."""
        losses = fact(record, LOSS)
        with np.errstate(over="ignore"):
            return Values(np.exp(losses.values / fact(record, TOKENS).values), excluded=losses.excluded)
