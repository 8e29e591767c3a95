"""How often the right option is the likeliest, wherever it stands."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class PermutationAccuracy(FactMean):
    """Share of the cyclic orders of its options in which a question is answered right; mean over questions, in [0, 1].

    A model that always says the same letter has ¼ with four options, whatever the accuracy in the given order is.

    Source: METRICS.md §6 (4-permutation accuracy).
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers"})
    unit: ClassVar = "share"
    fact: ClassVar = "permutation_accuracy"
    chance: ClassVar = 0.25
