"""Forget quality without the public test's faults, attacks at low false-positive rates, and the public aggregates.

Source: METRICS.md §3.1, §4, §7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ofmu.benchmarks.tofu_parity import Values, answers
from ofmu.evaluation import aggregates
from ofmu.evaluation.forget_quality import forget_quality
from ofmu.evaluation.metric import Attack
from ofmu.evaluation.metrics import find
from ofmu.evaluation.mia_efficacy import fit_threshold
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.statistics import Floats, tpr_at_fpr
from ofmu.evaluation.table import Table
from ofmu.evaluation.truth_ratio import log_truth_ratio

AGGREGATED = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus")
Halves = Mapping[str, Mapping[str, str]]


def quality_row(
    own: Mapping[str, Record], retrained: Sequence[Mapping[str, Record]], halves: Halves
) -> dict[str, Any] | None:
    """D, the mean difference d of log truth ratios to the retrained models, and whether they are equivalent.

    On the reporting half of the authors; None without wrong answers or a retrained model.
    """
    if not retrained or "forget-wrong" not in own or any("forget-wrong" not in each for each in retrained):
        return None
    forget, half = own["forget"], halves.get("forget-wrong")
    kept = np.array([half is None or half.get(name) == "report" for name in forget.ids])
    u, *r = (log_truth_ratio(*answers(each, "forget"))[kept] for each in (own, *retrained))
    clusters = [cluster for cluster, keep in zip(forget.clusters, kept) if keep]
    found = forget_quality(u, np.stack(r), clusters, "forget_quality", forget.data)
    return {
        "n": found.n,
        "clusters": found.difference.clusters,
        "D": found.statistic,
        "D interval": found.statistic_interval,
        "log10 p (paired data taken as independent)": found.log10_pvalue,
        "d": found.difference.difference,
        "d interval": found.difference.interval,
        "sign-flip p": found.difference.pvalue,
        "margin": found.margin,
        "equivalent": found.equivalent,
    }


def at_thresholds(
    records: Mapping[str, Record], attack: str, halves: Halves, base: Mapping[str, Record] | None = None
) -> dict[str, float]:
    """How an attack does at one threshold, on the reporting half of the holdout.

    True-positive rate of the whole forget set at false-positive rates of 1 % and .1 %, NaN with fewer unseen examples
    than 1/FPR; and the balanced accuracy on the reporting half of both at the threshold that is best on the steering
    halves, NaN where there are none.

    Args:
        records: set → record of the model.
        attack: its name.
        halves: set → id → half; the forget set's under ``forget-wrong``.
        base: the same of the base model, for the reference attack.
    """
    kind = find(attack)
    assert issubclass(kind, Attack)
    read = {("unlearned", on): records[on] for on in ("forget", "holdout")}
    read |= {} if base is None else {("base", on): base[on] for on in ("forget", "holdout")}
    sides = list(zip(kind().tables(Records(read), {}), (halves.get("forget-wrong"), halves.get("holdout"))))
    inside, outside = (_of_half(table, dealt, "report") for table, dealt in sides)
    whole = _of_half(sides[0][0], None, "report")
    rates = {f"TPR at {name} FPR": tpr_at_fpr(whole, outside, fpr) for name, fpr in (("1 %", 0.01), (".1 %", 0.001))}
    known = [_of_half(table, dealt, "steer") for table, dealt in sides if dealt is not None]
    accuracy = float("nan")
    if len(known) == 2 and all(map(len, known)):
        threshold = fit_threshold(*known)
        accuracy = 0.5 * float((~threshold.unseen(inside)).mean() + threshold.unseen(outside).mean())
    return rates | {"balanced accuracy": accuracy}


def aggregate_row(values: Values, knowledge: float, reference: Values | None) -> dict[str, float]:
    """Memorization and privacy with their parts; never a headline: over-forgetting ranks first in the former.

    Args:
        values: the model's summary.
        knowledge: mean 1/(1 + TR) on the forget set.
        reference: the retrained model's summary.
    """
    strength, exact = values["extraction_strength"], values["exact_memorization"]
    similar = {
        attack: float("nan") if reference is None else aggregates.auc_similarity(values[attack], reference[attack])
        for attack in AGGREGATED
    }
    return {
        "memorization": aggregates.memorization(
            strength, exact, values.get("forget_Q_A_PARA_Prob", float("nan")), knowledge
        ),
        "privacy": aggregates.privacy(similar.values()),
        **{f"s {attack}": value for attack, value in similar.items()},
    }


def _of_half(table: Table, dealt: Mapping[str, str] | None, half: str) -> Floats:
    """Values of one half; of the whole set if it was not dealt."""
    kept = table.kept("unlearned") & [dealt is None or dealt.get(name) == half for name in table.ids]
    return table.values["unlearned"][kept]
