"""How many bits a model needs for a byte of text."""

from __future__ import annotations

import math
from typing import ClassVar

from ofmu.evaluation.per_unit import PerUnit
from ofmu.evaluation.statistics import Floats


class BitsPerByte(PerUnit):
    """ΣL / (ln 2 · Σ UTF-8 bytes) over plain texts, long ones in windows of the context; ≥ 0.

    Down on what should stay, as retrained on the forget set. The only one of its kind that compares models of different
    tokenizers.

    Source: METRICS.md §2.8.
    """

    unit: ClassVar = "bits a byte"
    counted: ClassVar = "utf8_bytes"

    def of(self, ratio: Floats) -> Floats:
        """Bits of nats."""
        return ratio / math.log(2)
