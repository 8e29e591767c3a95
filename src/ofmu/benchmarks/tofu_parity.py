"""One model under the names and definitions of the common framework, its faults included.

Legend: keys are those of the framework's summary; every value is over whole sets. Where a definition has a fault,
METRICS.md §14 names it (F5, F6, F8); the same quantities without fault are the package's own scores.

Source: METRICS.md §13 and the sections named beside each formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ofmu.data.views import base_id
from ofmu.evaluation import attack_scores
from ofmu.evaluation import truth_ratio as ratios
from ofmu.evaluation.aggregates import harmonic_mean
from ofmu.evaluation.kolmogorov_smirnov import kolmogorov_smirnov
from ofmu.evaluation.metric import Attack
from ofmu.evaluation.metrics import find
from ofmu.evaluation.metrics.extraction_strength import suffix
from ofmu.evaluation.record import Record
from ofmu.evaluation.statistics import Floats, auc

Values = dict[str, float]
SHORT = {"retain": "retain", "real_authors": "ra", "world_facts": "wf"}
UTILITY = (
    "retain_Q_A_Prob",
    "ra_Q_A_Prob_normalised",
    "wf_Q_A_Prob_normalised",
    *(f"{short}_{part}" for short in SHORT.values() for part in ("Q_A_ROUGE", "Truth_Ratio")),
)
"""What model utility is the harmonic mean of."""
ATTACKS = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus", "mia_gradnorm")


def parity(records: Mapping[str, Record], retrained: Sequence[Mapping[str, Record]]) -> Values:
    """Every value that the framework's summary has and these records allow; NaN where something is missing.

    Args:
        records: set or view → record of the model.
        retrained: the same of retrained models; the first is compared with, as in the framework.
    """
    reference = retrained[0] if retrained else None
    values = {**_forget(records, reference), **_utility(records), **_attacks(records)}
    a_r = None if reference is None else _attacks(reference)["mia_min_k"]
    values["privleak"] = attack_scores.privleak_open_unlearning(values["mia_min_k"], a_r)  # F8: ½ where there is none
    return values


def _forget(records: Mapping[str, Record], reference: Mapping[str, Record] | None) -> Values:
    own = records["forget"]
    values = {
        "exact_memorization": _logged_or(own, "exact_memorization", _exact_memorization),
        "extraction_strength": _logged_or(own, "extraction_strength", _extraction_strength),
        **dict.fromkeys(("forget_truth_ratio", "forget_quality", "forget_quality_log10"), float("nan")),
        **_answers_of(records, "forget", "forget"),
    }
    if "forget-wrong" not in records:
        return values
    correct, wrong = answers(records, "forget")
    ratio = ratios.truth_ratio_open_unlearning(correct, wrong)
    values["forget_truth_ratio"] = _mean(ratios.closer_open_unlearning(ratio))
    if reference is not None and "forget-wrong" in reference:
        test = kolmogorov_smirnov(
            ratios.log_truth_ratio(correct, wrong), ratios.log_truth_ratio(*answers(reference, "forget"))
        )
        values |= {"forget_quality": test.pvalue, "forget_quality_log10": test.log10_pvalue}
    return values


def _utility(records: Mapping[str, Record]) -> Values:
    """What is known of the sets that should stay, and the harmonic mean of nine parts."""
    values: Values = {}
    for name, short in SHORT.items():
        if name not in records:
            continue
        values |= _answers_of(records, name, short)
        if f"{name}-wrong" not in records:
            continue
        correct, wrong = answers(records, name)
        ratio = ratios.truth_ratio_open_unlearning(correct, wrong)
        values[f"{short}_Truth_Ratio"] = _mean(ratios.true_better_open_unlearning(ratio))
        if name != "retain":
            own = -np.log(_probabilities(records[name]))
            against = _grouped(
                records[f"{name}-wrong"], records[name].ids, -np.log(_probabilities(records[f"{name}-wrong"]))
            )
            values[f"{short}_Q_A_Prob_normalised"] = _mean(ratios.normalised_probability_open_unlearning(own, against))
    return {**values, "model_utility": harmonic_mean(values.get(part, float("nan")) for part in UTILITY)}


def _answers_of(records: Mapping[str, Record], name: str, short: str) -> Values:
    """Means of the probabilities of a set's answers, and of the ROUGE of what was generated."""
    ids = records[name].ids
    values = {f"{short}_Q_A_Prob": _mean(_probabilities(records[name])), f"{short}_Q_A_ROUGE": _rouge(records[name])}
    for view, key in (("paraphrased", "PARA"), ("wrong", "PERT")):
        if f"{name}-{view}" in records:
            other = records[f"{name}-{view}"]
            each = _grouped(other, ids, _probabilities(other))
            values[f"{short}_Q_A_{key}_Prob"] = _mean(np.array([p.mean() if len(p) else np.nan for p in each]))
    return values


def _attacks(records: Mapping[str, Record]) -> Values:
    found: Values = {name: float("nan") for name in ATTACKS}
    if "holdout" not in records:
        return found
    for name in ATTACKS:
        kind = find(name)
        if name == "mia_gradnorm" and "gradnorm" not in records["forget"].facts:
            continue
        assert issubclass(kind, Attack)
        sides = [kind().read(records[on]) for on in ("forget", "holdout")]
        kept = [
            side.values[[i not in side.excluded for i in records[on].ids]]
            for side, on in zip(sides, ("forget", "holdout"))
        ]
        found[name] = auc(*kept)
    return found


def answers(records: Mapping[str, Record], name: str) -> tuple[Floats, list[Floats]]:
    """λ_c (in other words where there are any) and λ_w of each example of a set."""
    ids, wrong = records[name].ids, records[f"{name}-wrong"]
    correct = records[name].means("nll")
    if f"{name}-paraphrased" in records:
        view = records[f"{name}-paraphrased"]
        each = _grouped(view, ids, view.means("nll"))
        correct = np.array([losses.mean() if len(losses) else np.nan for losses in each])
    return correct, _grouped(wrong, ids, wrong.means("nll"))


def _grouped(view: Record, ids: Sequence[str], values: Floats) -> list[Floats]:
    """A view's values for each of the set's examples: N arrays, empty where it has none."""
    found: dict[str, list[float]] = {i: [] for i in ids}
    for i, value in zip(view.ids, values.tolist()):
        if base_id(i) in found:
            found[base_id(i)].append(value)
    return [np.array(each) for each in found.values()]


def _probabilities(record: Record) -> Floats:
    """exp(−λ) of each example: as logged (rounded to single precision before the mean) where a log is read."""
    return record.facts.get("probability", np.exp(-record.means("nll")))


def _logged_or(record: Record, name: str, measure: Callable[[Record], Floats]) -> float:
    """The mean over examples of what a log says, else of what the rows say; an example without a value is left out."""
    values = record.facts[name] if name in record.facts else measure(record)
    return _mean(values[~np.isnan(values)])


def _exact_memorization(record: Record) -> Floats:
    return record.means("correct", where=record.columns["content"].astype(bool))


def _extraction_strength(record: Record) -> Floats:
    """F5: never below 1/T, and 0 for an empty answer."""
    length = record.counts(record.columns["content"].astype(bool))
    return np.where(length > 0, np.maximum(1, suffix(record)) / np.maximum(length, 1), 0.0)


def _rouge(record: Record) -> float:
    known = record.facts.get("rougeL_recall")
    return float("nan") if known is None else _mean(known)


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
