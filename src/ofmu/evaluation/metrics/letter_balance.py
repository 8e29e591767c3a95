"""Which letters a model chooses, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.multiple_choice import LETTERS
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.table import Values, fact

CHOSEN, OPTIONS = "chosen_letter", "options"
"""Facts of a question: the number of the letter chosen, 0 = A; how many there are."""


class LetterBalance(SetMean):
    """Share of questions for which a letter is the likeliest, a score a letter; in [0, 1]; about ¼ of four each.

    A model of which one letter has most of the questions has not answered them: its accuracy is near chance for another
    reason than not knowing.

    Source: METRICS.md §6 (`letter_balance`).

    Args:
        on: the set.
        letter: its number, 0 = A.
    """

    better: ClassVar = "as_retrained"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "text"
    unit: ClassVar = "share"
    judged: ClassVar = False

    def __init__(self, on: str, letter: int = 0) -> None:
        super().__init__(on)
        self.name += f"_{LETTERS[letter]}"
        self._letter = letter

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance for each letter of each set of questions."""
        options = {name: int(np.nanmax(r.facts[OPTIONS])) for (_, name), r in records.items() if OPTIONS in r.facts}
        return [cls(name, letter) for name in records.sets for letter in range(options.get(name, 0))]

    def values(self, record: Record) -> Values:
        """1 where the letter was chosen, else 0."""
        found = fact(record, CHOSEN)
        chosen = np.where(np.isfinite(found.values), found.values == self._letter, found.values)
        return Values(chosen.astype(np.float64), excluded=found.excluded)
