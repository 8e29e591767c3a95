"""How unlikely the base model finds what the model says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from ofmu.evaluation.metric import FactMean, Halves, Measurement
from ofmu.evaluation.records import Records
from ofmu.evaluation.reference_loss import FACT

REFERENCE = "base"
ANSWERED = "rep4"  # the fact that every greedy answer leaves


class RefNll(FactMean):
    """λ_b of a greedy answer, its mean −log p under the base model, before any fine-tuning; mean over examples.

    In nats, ≥ 0. Gibberish is unlikely to the base model, too; so is what only fine-tuning could teach: best as
    retrained. Answers without a token do not count. Without a base model (``--base``) there is no score.

    Source: METRICS.md §2.9.
    """

    better: ClassVar = "as_retrained"
    needs: ClassVar = frozenset({"answers", "generations", "base"})
    refers_to: ClassVar = REFERENCE
    unit: ClassVar = "nats"
    fact: ClassVar = FACT

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance for each set on which a model answered."""
        found = {name for (_, name), record in records.items() if {ANSWERED, FACT} & record.facts.keys()}
        return [cls(name) for name in records.sets if name in found]

    def measure(
        self, records: Records, *, halves: Halves | None = None, roles: Sequence[str] | None = None
    ) -> Measurement:
        """The scores of all models (or of ``roles``); with the reason for none if there is no base model."""
        if REFERENCE in records.roles or any(FACT in each.facts for each in records.of_set(self.sets[0]).values()):
            return super().measure(records, halves=halves, roles=roles)
        wanted = records.roles if roles is None else tuple(roles)
        reason = "no base model (--base) that could read the answers"
        return Measurement(self, (), {role: self._without(role, reason) for role in wanted}, {})
