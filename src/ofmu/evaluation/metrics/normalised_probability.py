"""Probability of the true answer among the answers to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ofmu.evaluation.joined import Joined
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.truth_ratio import normalised_probability


class NormalisedProbability(Joined):
    """P(y)/(P(y) + Σ_j P(w_j)), P = exp(−λ) length-normalised, as a softmax over −λ; mean over examples.

    In (0, 1); 1/(1 + number of wrong answers) is chance. Up on what should stay, as retrained on the forget set.

    Source: METRICS.md §2.2. Public code adds 1e-10 to the denominator.
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers", "wrong"})
    modality: ClassVar = "text"
    unit: ClassVar = "probability"

    def joined(self, true: Floats, paraphrased: Floats, wrong: Sequence[Floats]) -> Floats:
        """The share of each example's true answer."""
        return normalised_probability(true, wrong)
