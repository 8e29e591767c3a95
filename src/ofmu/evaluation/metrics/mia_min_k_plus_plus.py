"""Min-k++ attack: min-k on log-probabilities standardised over the vocabulary."""

from __future__ import annotations

from typing import ClassVar

from ofmu.evaluation.lowest import lowest
from ofmu.evaluation.metric import Attack
from ofmu.evaluation.record import Record
from ofmu.evaluation.table import Values


class MiaMinKPlusPlus(Attack):
    """a(z) = −mean of the lowest m of z_t = (log p_t − μ_t)/σ_t over S⁻, m = max(1, ⌊.4 T⌋); AUC of D_f against D_h.

    μ_t = Σ_v p log p and σ_t² = Σ_v p (log p)² − μ_t² over the vocabulary, σ² at least 1e-6, in float32.

    Source: METRICS.md §4.
    """

    needs: ClassVar = frozenset({"answers", "holdout"})
    modality: ClassVar = "text"

    def values(self, record: Record) -> Values:
        """−mean of the lowest z of each example."""
        return lowest(record, record.columns["z"])
