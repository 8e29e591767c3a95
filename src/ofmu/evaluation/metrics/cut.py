"""How often the token limit ends an answer."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class Cut(FactMean):
    """Share of greedy answers that the token limit ended before the model did, in [0, 1].

    Source: METRICS.md §2.4 (what recall must be read beside).
    """

    better: ClassVar = "down"
    unit: ClassVar = "share"
    fact: ClassVar = "cut"
