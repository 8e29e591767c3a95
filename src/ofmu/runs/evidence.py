"""What the report draws besides scores, example by example, from the records of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ofmu.evaluation.joined import Joined
from ofmu.evaluation.metric import Attack
from ofmu.evaluation.metrics import all_metrics
from ofmu.evaluation.records import Records
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.truth_ratio import log_truth_ratio
from ofmu.report.attackers import Attackers
from ofmu.report.evidence import Distributions


class _LogTruthRatio(Joined):
    """λ of the right answer in other words less the mean λ of the wrong ones, for each example of a set."""

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers", "wrong"})
    modality: ClassVar = "text"
    unit: ClassVar = "nats"

    def joined(self, true: Floats, paraphrased: Floats, wrong: Sequence[Floats]) -> Floats:
        return log_truth_ratio(paraphrased, wrong)


def log_truth_ratios(records: Records) -> Distributions:
    """Role → set → log TR of each example that has wrong answers; empty without any.

    Source: METRICS.md §2.3.
    """
    found: dict[str, dict[str, list[float]]] = {}
    if not len(records) or records.modality != "text":
        return found
    for each in _LogTruthRatio.over(records):
        (table,) = each.tables(records, {})
        for role, values in table.values.items():
            known = values[np.isfinite(values)].tolist()
            if known:
                found.setdefault(role, {})[table.set_name] = known
    return found


def membership(records: Records) -> Attackers:
    """Attack → role → (scores of the forget set, scores of examples that no model was trained on).

    Scores are oriented like a loss: low = trained on. Attacks for which something is missing are left out.

    Source: METRICS.md §4.
    """
    found: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    if not len(records):
        return found
    kinds = [kind for kind in all_metrics().values() if issubclass(kind, Attack)]
    for attack in (each for kind in kinds if kind.modality in ("any", records.modality) for each in kind.over(records)):
        if not set(attack.sets) <= set(records.sets):
            continue
        members, others = attack.tables(records, {})
        for role in records.roles:
            if role not in members.values or role not in others.values:
                continue
            sides = [table.values[role][table.kept(role)].tolist() for table in (members, others)]
            if all(sides):
                found.setdefault(attack.name, {})[role] = (sides[0], sides[1])
    return found
