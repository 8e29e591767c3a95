"""Metrics that need other forms of an answer: in other words, or wrong."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np

from ofmu.data.views import base_id
from ofmu.evaluation.metric import Halves, SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.table import Table, Values, tabulate


class Joined(SetMean):
    """A metric that is the mean over a set's examples of a value that other forms of the same answers enter too.

    It exists for the sets whose wrong answers are known; the correct answer in other words is the example's own where
    no other words are known.
    """

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance for each set with wrong answers."""
        return [cls(name.removesuffix("-wrong")) for name in records.sets if name.endswith("-wrong")]

    @abstractmethod
    def joined(self, true: Floats, paraphrased: Floats, wrong: Sequence[Floats]) -> Floats:
        """The value of each of N examples.

        Args:
            true: (N,), λ of the answer, in nats.
            paraphrased: (N,), mean λ of the answer in other words; of the answer itself where there are none.
            wrong: N times (w,), λ of each wrong answer.
        """

    def values(self, record: Record) -> Values:
        """Not from one record alone."""
        raise TypeError(f"{self.name} needs the records of the wrong answers too; use measure")

    def tables(self, records: Records, halves: Halves) -> tuple[Table, ...]:
        """The set's own table, halved as its views are."""
        (on,) = self.sets
        known = records.of_set(f"{on}-wrong")
        present = {role: record for role, record in records.of_set(on).items() if role in known}
        half = halves.get(f"{on}-wrong", halves.get(on))
        return (tabulate(on, present, lambda role, record: self._values(records, role, record), half),)

    def _values(self, records: Records, role: str, record: Record) -> Values:
        (on,) = self.sets
        wrong = _by_example(records[role, f"{on}-wrong"], record.ids)
        true = record.means("nll")
        paraphrased = true
        if (role, f"{on}-paraphrased") in records:
            means = [
                each.mean() if len(each) else np.nan
                for each in _by_example(records[role, f"{on}-paraphrased"], record.ids)
            ]
            paraphrased = np.array(means)
        unknown_to = [not len(w) or np.isnan(p) for w, p in zip(wrong, paraphrased)]
        excluded = {
            name: "no wrong or no correct answer is known" for name, none in zip(record.ids, unknown_to) if none
        }
        filled = [w if len(w) else np.zeros(1) for w in wrong]
        return Values(self.joined(true, np.nan_to_num(paraphrased, nan=0.0, posinf=np.inf), filled), excluded=excluded)


def _by_example(view: Record, ids: Sequence[str]) -> list[Floats]:
    """λ of the view's examples for each of the set's: N arrays, empty where the view has none."""
    found: dict[str, list[float]] = {name: [] for name in ids}
    for name, value in zip(view.ids, view.means("nll").tolist()):
        found.setdefault(base_id(name), []).append(value)
    return [np.array(found[name]) for name in ids]
