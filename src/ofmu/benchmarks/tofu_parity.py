"""One model under the names and definitions of the common framework, its faults included.

Legend: keys are those of the framework's summary; every value is over whole sets. Where a definition has a fault,
METRICS.md §14 names it (F5, F6, F8); the same quantities without fault are the package's own scores.

Source: METRICS.md §13 and the sections named beside each formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ofmu.data.views import base_id
from ofmu.evaluation import attack_scores
from ofmu.evaluation import truth_ratio as ratios
from ofmu.evaluation.aggregates import harmonic_mean
from ofmu.evaluation.kolmogorov_smirnov import kolmogorov_smirnov
from ofmu.evaluation.metric import Attack, metric
from ofmu.evaluation.metrics.extraction_strength import suffix
from ofmu.evaluation.record import Record
from ofmu.evaluation.statistics import Floats, auc

Values = dict[str, float]
SHORT = {"retain": "retain", "real_authors": "ra", "world_facts": "wf"}
ATTACKS = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus", "mia_gradnorm")


def parity(records: Mapping[str, Record], retrained: Sequence[Mapping[str, Record]]) -> Values:
    """Every value that the framework's summary has and these records allow; NaN where something is missing.

    Args:
        records: set or view → record of the model.
        retrained: the same of retrained models; the first is compared with, as in the framework.
    """
    reference = retrained[0] if retrained else None
    values = {**_forget(records, reference), **_utility(records), **_attacks(records)}
    k = values["mia_min_k"]
    a_r = None if reference is None else _attacks(reference)["mia_min_k"]
    values["privleak"] = attack_scores.privleak_open_unlearning(k, a_r)
    return values


def _forget(records: Mapping[str, Record], reference: Mapping[str, Record] | None) -> Values:
    own = records["forget"]
    content = own.columns["content"].astype(bool)
    length = own.counts(content)
    kept = length > 0
    values = {
        "forget_Q_A_Prob": _mean(np.exp(-own.means("nll"))),
        "forget_Q_A_ROUGE": _rouge(own),
        "exact_memorization": _mean(own.means("correct", where=content)[kept]),
        "extraction_strength": _mean(np.maximum(1, suffix(own)) / np.maximum(length, 1)),  # F5: never below 1/T
        "forget_quality": float("nan"),
        "forget_quality_log10": float("nan"),
    }
    correct, wrong = _answers(records, "forget")
    ratio = ratios.truth_ratio_open_unlearning(correct, wrong)
    values["forget_truth_ratio"] = _mean(ratios.closer_open_unlearning(ratio))
    values["forget_Q_A_PARA_Prob"] = _mean(np.exp(-_view(records, "forget", "paraphrased")))
    values["forget_Q_A_PERT_Prob"] = _mean(np.array([np.exp(-each).mean() for each in wrong]))
    if reference is not None:
        test = kolmogorov_smirnov(
            ratios.log_truth_ratio(correct, wrong), ratios.log_truth_ratio(*_answers(reference, "forget"))
        )
        values |= {"forget_quality": test.pvalue, "forget_quality_log10": test.log10_pvalue}
    return values


def _utility(records: Mapping[str, Record]) -> Values:
    """The nine parts and their harmonic mean."""
    values: Values = {}
    for name, short in SHORT.items():
        if name not in records:
            continue
        own = records[name].means("nll")
        correct, wrong = _answers(records, name)
        ratio = ratios.truth_ratio_open_unlearning(correct, wrong)
        probability = np.exp(-own) if name == "retain" else ratios.normalised_probability_open_unlearning(own, wrong)
        values[f"{short}_Q_A_Prob" + ("" if name == "retain" else "_normalised")] = _mean(probability)
        values[f"{short}_Q_A_ROUGE"] = _rouge(records[name])
        values[f"{short}_Truth_Ratio"] = _mean(ratios.true_better_open_unlearning(ratio))
    return {**values, "model_utility": harmonic_mean(values.values()) if len(values) == 9 else float("nan")}


def _attacks(records: Mapping[str, Record]) -> Values:
    found: Values = {name: float("nan") for name in ATTACKS}
    if "holdout" not in records:
        return found
    for name in ATTACKS:
        kind = metric(name)
        if name == "mia_gradnorm" and "gradnorm" not in records["forget"].facts:
            continue
        assert issubclass(kind, Attack)
        sides = [kind().values(records[on]) for on in ("forget", "holdout")]
        kept = [
            side.values[[i not in side.excluded for i in records[on].ids]]
            for side, on in zip(sides, ("forget", "holdout"))
        ]
        found[name] = auc(*kept)
    return found


def _answers(records: Mapping[str, Record], name: str) -> tuple[Floats, list[Floats]]:
    """λ_c (in other words where there are any) and λ_w of each example of a set."""
    ids = records[name].ids
    correct = _view(records, name, "paraphrased") if f"{name}-paraphrased" in records else records[name].means("nll")
    found: dict[str, list[float]] = {i: [] for i in ids}
    view = records[f"{name}-wrong"]
    for i, value in zip(view.ids, view.means("nll").tolist()):
        found[base_id(i)].append(value)
    return correct, [np.array(found[i]) for i in ids]


def _view(records: Mapping[str, Record], name: str, kind: str) -> Floats:
    """Mean λ over an example's answers in a view: (N,)."""
    found: dict[str, list[float]] = {i: [] for i in records[name].ids}
    view = records[f"{name}-{kind}"]
    for i, value in zip(view.ids, view.means("nll").tolist()):
        found[base_id(i)].append(value)
    return np.array([np.mean(each) if each else np.nan for each in found.values()])


def _rouge(record: Record) -> float:
    known = record.facts.get("rougeL_recall")
    return float("nan") if known is None else _mean(known)


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
