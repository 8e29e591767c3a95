"""Probability of the right answer against a wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ofmu.evaluation.joined import Joined
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.truth_ratio import knowledge, log_truth_ratio


class TruthRatioKnowledge(Joined):
    """1/(1 + TR) = p_c/(p_c + p_w), the truth ratio read as knowledge: 1 knows, ½ is indifferent; mean over examples.

    In (0, 1). Up on what should stay, as retrained on the forget set.

    Source: METRICS.md §2.3 (`knowledge`; `prob_mean` in public code).
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers", "paraphrased", "wrong"})
    modality: ClassVar = "text"
    unit: ClassVar = "probability"

    def joined(self, true: Floats, paraphrased: Floats, wrong: Sequence[Floats]) -> Floats:
        """1/(1 + TR) of each example."""
        return knowledge(log_truth_ratio(paraphrased, wrong))
