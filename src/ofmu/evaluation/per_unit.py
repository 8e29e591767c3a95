"""Metrics of whole documents: what all of them lose over what all of them count."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np

from ofmu.evaluation import statistics
from ofmu.evaluation.documents import LOSS
from ofmu.evaluation.metric import Halves, SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.score import Score
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.table import UNKNOWN, Table, Values, fact, tabulate


class PerUnit(SetMean):
    """A function of ΣL/Σu over the documents of a set, L the summed loss and u the units of one (tokens, bytes).

    The value of an example is its L, in nats. It restates the loss, so the verdict does not count it beside that.
    """

    modality: ClassVar = "text"
    needs: ClassVar = frozenset({"answers"})
    better: ClassVar = "down"
    judged: ClassVar = False
    counted: ClassVar[str]
    """The fact that counts the units of a document."""

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance for each set with documents."""
        found = {name for (_, name), record in records.items() if LOSS in record.facts}
        return [cls(name) for name in records.sets if name in found]

    @abstractmethod
    def of(self, ratio: Floats) -> Floats:
        """The score at ΣL/Σu, element by element."""

    def values(self, record: Record) -> Values:
        """L of each document."""
        return fact(record, LOSS)

    def tables(self, records: Records, halves: Halves) -> tuple[Table, ...]:
        """L and u of each document."""
        (on,) = self.sets
        known, half = records.of_set(on), halves.get(on)
        losses = tabulate(on, known, lambda _, record: self.values(record), half)
        return losses, tabulate(on, known, lambda _, record: self._units(record), half)

    def resample(self, values: Sequence[Floats], tables: Sequence[Table], rng: np.random.Generator) -> Floats:
        """Draws of the ratio, the same clusters above and below."""
        draws = statistics.bootstrap_means(np.concatenate(values), tables[0].clusters, rng)
        above, below = np.split(draws, 2)
        return self.of(above / below)

    def _units(self, record: Record) -> Values:
        units = fact(record, self.counted)
        unread = np.isnan(fact(record, LOSS).values)
        return replace(units, excluded={**units.excluded, **{i: UNKNOWN for i, u in zip(record.ids, unread) if u}})

    def _scored(self, role: str, tables: tuple[Table, ...]) -> Score:
        found = super()._scored(role, tables[:1])
        if not np.isfinite(found.value):
            return found
        losses, units = (table.values[role][tables[0].kept(role)].sum() for table in tables)
        value = float(self.of(np.asarray(losses / units)))
        if np.isfinite(value):
            return replace(found, value=value)
        return replace(found, value=float("nan"), reason=f"beyond any number: the loss is {losses / units:.4g} nats")
