"""How much likelier wrong answers are than the right one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ofmu.evaluation.joined import Joined
from ofmu.evaluation.metric import WANTED_AS_RETRAINED
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.truth_ratio import closer, log_truth_ratio, true_better


class TruthRatio(Joined):
    """log TR = λ_c − mean_j λ_wj, λ_c of the answer in other words (else of the answer), λ_wj of the wrong answers.

    On forget set and holdout the mean of min(TR, 1/TR): 1 where right and wrong are equally likely, as retrained.
    Elsewhere the mean of max(0, 1 − TR): up. Both in [0, 1].

    Source: METRICS.md §2.3 (geometric form; `closer` and `true_better`).
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers", "paraphrased", "wrong"})
    modality: ClassVar = "text"
    unit: ClassVar = "ratio"

    def joined(self, true: Floats, paraphrased: Floats, wrong: Sequence[Floats]) -> Floats:
        """The aggregate's term of each example."""
        log_ratio = log_truth_ratio(paraphrased, wrong)
        return closer(log_ratio) if self.sets[0] in WANTED_AS_RETRAINED else true_better(log_ratio)
