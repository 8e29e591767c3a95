"""Length-normalised probability of the true answer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class Probability(SetMean):
    """P = exp(−λ), λ the mean −log p over the scored tokens S, end of turn included; mean over examples.

    In (0, 1]. Up on what should stay, as retrained on the forget set.

    Source: METRICS.md §2.1; the same number in both public TOFU harnesses.
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "text"
    unit: ClassVar = "probability"

    def values(self, record: Record) -> Values:
        """exp(−λ) of each example."""
        return Values(np.exp(-record.means("nll")))
