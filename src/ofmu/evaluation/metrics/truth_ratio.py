"""How much likelier wrong answers are than the right one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ofmu.evaluation.metric import WANTED_AS_RETRAINED, Joined
from ofmu.evaluation.statistics import Floats


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
        if self.sets[0] in WANTED_AS_RETRAINED:
            return np.exp(-np.abs(log_ratio))
        return -np.expm1(np.minimum(log_ratio, 0.0))


def log_truth_ratio(correct: Floats, wrong: Sequence[Floats]) -> Floats:
    """log TR of each of N examples: (N,).

    Args:
        correct: (N,), λ_c.
        wrong: N times (w,), λ_w.

    >>> round(float(log_truth_ratio(np.array([2.0]), [np.array([3.0, 2.0, 4.0])])[0]), 4)
    -1.0
    """
    return correct - np.array([each.mean() for each in wrong])
