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
from ofmu.evaluation.metric import Attack, metric
from ofmu.evaluation.record import Record
from ofmu.evaluation.statistics import Floats, tpr_at_fpr
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


def low_rates(records: Mapping[str, Record], attack: str, halves: Halves) -> dict[str, float]:
    """True-positive rate at false-positive rates of 1 % and .1 %; NaN with fewer unseen examples than 1/FPR."""
    kind = metric(attack)
    assert issubclass(kind, Attack)
    inside, outside = (_reported(kind().read(records[on]), records[on], halves.get(on)) for on in ("forget", "holdout"))
    return {f"TPR at {name} FPR": tpr_at_fpr(inside, outside, fpr) for name, fpr in (("1 %", 0.01), (".1 %", 0.001))}


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


def _reported(found: Any, record: Record, half: Mapping[str, str] | None) -> Floats:
    kept = [name not in found.excluded and (half is None or half.get(name) == "report") for name in record.ids]
    return found.values[np.array(kept)]
