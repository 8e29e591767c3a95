"""How many tokens a model finds as likely as the right one, over the tokens of all documents."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ofmu.evaluation.documents import TOKENS
from ofmu.evaluation.per_unit import PerUnit
from ofmu.evaluation.statistics import Floats


class Perplexity(PerUnit):
    """exp(ΣL/ΣT) over plain texts, weighted by tokens; long texts in windows of the context. In [1, ∞).

    Down on what should stay, as retrained on the forget set. Compares models of one tokenizer only. Where the
    exponential overflows there is no value; the reason says the loss.

    Source: METRICS.md §2.8.
    """

    unit: ClassVar = "tokens"
    counted: ClassVar = TOKENS

    def of(self, ratio: Floats) -> Floats:
        """From nats a token to tokens."""
        with np.errstate(over="ignore"):
            return np.exp(ratio)
