"""zlib attack: loss relative to how well the text compresses."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class MiaZlib(Attack):
    """a(z) = λ / bytes(zlib(answer)); AUC of D_f against D_h.

    zlib at its default level on the UTF-8 bytes of the answer as it stands in the data. A mean loss over a total size:
    longer texts look more like members. Kept so because that is the published number.

    Source: METRICS.md §4; equal to the public open-unlearning number.
    """

    needs: ClassVar = frozenset({"answers", "holdout"})
    modality: ClassVar = "text"

    def values(self, record: Record) -> Values:
        """λ over compressed bytes of each example."""
        return Values(record.means("nll") / record.facts["zlib_bytes"])
