"""zlib attack, both sides whole: the model's code length of the answer over zlib's."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.attack_scores import zlib_total
from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class MiaZlibTotal(Attack):
    """a(z) = L / (ln 2 · 8 · bytes(zlib(answer))), bits over bits; AUC of D_f against D_h.

    L is the summed −log p of the scored tokens, so that a longer text looks no more like a member than a short one. In
    [0, 1], as retrained. The second form of one attack: of the two, the privacy gap
    counts `mia_zlib`.

    Source: METRICS.md §4. Differs from the public form, `mia_zlib`, which divides the mean loss by the total size.
    """

    needs: ClassVar = frozenset({"answers", "holdout"})
    modality: ClassVar = "text"
    judged: ClassVar = False

    def values(self, record: Record) -> Values:
        """The model's bits over zlib's, of each example."""
        return Values(zlib_total(record.sums("nll"), record.facts["zlib_bytes"]))
