"""Length-normalised probability of wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ofmu.evaluation.joined import Joined
from ofmu.evaluation.statistics import Floats


class WrongProbability(Joined):
    """Mean over the wrong answers of exp(−λ_w); mean over examples.

    Beside the probability of the right answer: a model that finds both unlikely has lost the language, not the fact.
    In (0, 1]; down on what should stay, as retrained on the forget set.

    Source: METRICS.md §2.3; `forget_Q_A_PERT_Prob` of public tables.
    """

    better: ClassVar = "down"
    needs: ClassVar = frozenset({"answers", "wrong"})
    modality: ClassVar = "text"
    unit: ClassVar = "probability"

    def joined(self, true: Floats, paraphrased: Floats, wrong: Sequence[Floats]) -> Floats:
        """Mean exp(−λ_w) of each example."""
        return np.array([np.exp(-each).mean() for each in wrong])
