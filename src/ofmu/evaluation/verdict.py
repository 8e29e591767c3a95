"""The report's first words: forgotten or not, too far or not, at what cost, and what none of this shows.

Source: METRICS.md §9. A bound is judged by the whole 95 % interval; where the interval straddles it, or there
are too few clusters for one, the answer is null: undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ofmu.evaluation import ability, against_holdout, words
from ofmu.evaluation.gaps import Gap, Interval, below, gap
from ofmu.evaluation.headlines import Measurements
from ofmu.evaluation.metric import Attack
from ofmu.evaluation.records import Records

TOLERANCE = 0.1  # of the way from the reference back to the original; of an AUC


@dataclass(frozen=True)
class Finding:
    """One figure that the verdict rests on.

    Args:
        name: the score.
        attack: it is the AUC of an attack, judged by its difference; else judged by its residual.
        gap: the unlearned model against the reference.
    """

    name: str
    attack: bool
    gap: Gap

    @property
    def size(self) -> Interval | None:
        """The interval that must lie below the tolerance: of the residual, or of |A_u − A_r|."""
        return self.gap.size_interval if self.attack else self.gap.residual_interval

    @property
    def signed(self) -> Interval | None:
        """The interval that lies below −tolerance when the model went past the reference."""
        return self.gap.interval if self.attack else self.gap.residual_interval


def verdict(measurements: Measurements, records: Records) -> dict[str, Any]:
    """The three answers (true, false, or null: cannot be told), ``against`` what, and the ``words``.

    With retrained models every forget score with a signal and every attack counts. With a base model that saw
    neither forget set nor holdout in their place, the loss and the attacks count. With neither, nothing is
    judged; where there is a holdout, ``against_holdout`` says how the forget set stands out from it.

    A model that has lost more than half of its ability has not forgotten but broken: ``forgotten`` is then never
    true, but undecided.

    Args:
        measurements: score name → measurement.
        records: what was measured.
    """
    against, reference = _reference(measurements, records)
    findings = _findings(measurements, reference, only_loss=against == "never-seen data")
    cost = ability.cost(measurements, records)
    answers = {
        "forgotten": None if cost.useless and _forgotten(findings) else _forgotten(findings),
        "over_forgotten": _over_forgotten(findings),
        "utility_kept": cost.kept,
    }
    text = words.paragraph(measurements, records, answers, against, findings_of(findings), cost)
    held = against_holdout.as_json(measurements) if against == "nothing" else {}
    return {**answers, "against": against, "words": text, **({"against_holdout": held} if any(held.values()) else {})}


def findings_of(findings: Sequence[Finding]) -> list[tuple[str, bool, Gap]]:
    """The findings as the words need them: name, is it an attack, gap."""
    return [(finding.name, finding.attack, finding.gap) for finding in findings]


def _reference(measurements: Measurements, records: Records) -> tuple[str, tuple[str, ...]]:
    """What the unlearned model is held against, and the roles of it."""
    if records.retrained and ("retrained", "forget") in records:
        return "retrained", records.retrained
    if ("base", "forget") in records and ("base", "holdout") in records:
        return "never-seen data", ("base",)
    return "nothing", ()


def _findings(measurements: Measurements, reference: Sequence[str], *, only_loss: bool) -> list[Finding]:
    """Every defined residual on the forget set and every attack."""
    found = []
    for name, measurement in measurements.items():
        attack = isinstance(measurement.metric, Attack)
        about_forget = measurement.metric.sets == ("forget",) and (name == "forget_loss" or not only_loss)
        if not reference or not measurement.metric.judged or not (attack or about_forget):
            continue
        against = gap(measurement, "unlearned", reference)
        if against is not None and (attack or against.residual is not None):
            found.append(Finding(name, attack, against))
    return found


def _forgotten(findings: Sequence[Finding]) -> bool | None:
    answers = [below(finding.size, TOLERANCE) for finding in findings]
    if False in answers:
        return False
    return True if answers and None not in answers else None


def _over_forgotten(findings: Sequence[Finding]) -> bool | None:
    past = [None if f.signed is None else below(f.signed, -TOLERANCE) for f in findings]
    if True in past:
        return True
    return False if past and None not in past else None
