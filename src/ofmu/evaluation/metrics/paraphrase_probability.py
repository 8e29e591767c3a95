"""Length-normalised probability of the true answer in other words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from ofmu.evaluation.joined import Joined
from ofmu.evaluation.records import Records
from ofmu.evaluation.statistics import Floats


class ParaphraseProbability(Joined):
    """P = exp(−λ_c), λ_c the loss of the answer in other words; mean over examples.

    Tells the fact from the sentence: a model may forget the words and still know it. In (0, 1]; up on what should
    stay, as retrained on the forget set.

    Source: METRICS.md §2.1 on the paraphrased answer; `forget_Q_A_PARA_Prob` of public tables.
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers", "paraphrased", "wrong"})
    modality: ClassVar = "text"
    unit: ClassVar = "probability"

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance for each set whose answers are there in other words, and wrong answers too."""
        return [each for each in super().over(records) if f"{each.sets[0]}-paraphrased" in records.sets]

    def joined(self, true: Floats, paraphrased: Floats, wrong: Sequence[Floats]) -> Floats:
        """exp(−λ_c) of each example."""
        return np.exp(-paraphrased)
