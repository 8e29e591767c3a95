"""How long the model's own answers are."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import FactMean


class GeneratedTokens(FactMean):
    """Tokens of the greedy answer; mean over examples. As retrained: neither short nor long is better.

    Source: METRICS.md §2.4 (what recall must be read beside).
    """

    better: ClassVar = "as_retrained"
    unit: ClassVar = "tokens"
    fact: ClassVar = "generated_tokens"
