"""Reference attack: was this text trained on, judged by how much lower its loss is than under another model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from ofmu.evaluation.metric import Attack, Halves
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.table import ABSENT, Table, Values, tabulate

REFERENCE = "base"


class MiaReference(Attack):
    """a(z) = λ − λ_b, λ_b the loss under the base model, before any fine-tuning; AUC of D_f against D_h.

    What is easy for every model no longer looks like a member. Exists where the base model was measured; the
    public configuration suggests the retrained model in its place, which nobody has who attacks.

    Source: METRICS.md §4.
    """

    needs: ClassVar = frozenset({"answers", "holdout", "base"})
    refers_to: ClassVar = REFERENCE
    modality: ClassVar = "text"

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance where there is a base model."""
        return [cls()] if REFERENCE in records.roles else []

    def values(self, record: Record) -> Values:
        """Not from one record alone."""
        raise TypeError(f"{self.name} needs the record of the base model too; use measure")

    def tables(self, records: Records, halves: Halves) -> tuple[Table, ...]:
        """λ − λ_b of every model but the base itself."""
        return tuple(
            tabulate(
                name,
                {role: record for role, record in records.of_set(name).items() if role != REFERENCE},
                lambda _, record, name=name: _against(record, records[REFERENCE, name]),
                halves.get(name),
            )
            for name in self.sets
        )


def _against(record: Record, base: Record) -> Values:
    known = dict(zip(base.ids, base.means("nll").tolist()))
    reference = np.array([known.get(name, np.nan) for name in record.ids])
    excluded = {name: ABSENT for name in record.ids if name not in known}
    return Values(record.means("nll") - reference, excluded=excluded)
