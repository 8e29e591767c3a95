"""The tables of the TOFU benchmark, from the records of the models.

Values under *parity* are the public ones, faults and all, on whole sets; everything else is measured on the reporting
halves with its interval.

Source: METRICS.md §13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ofmu.benchmarks.tofu_models import Measured
from ofmu.benchmarks.tofu_parity import Values, answers, parity
from ofmu.benchmarks.tofu_quality import aggregate_row, at_thresholds, quality_row
from ofmu.benchmarks.tofu_runs import attack_rows, cost_row
from ofmu.data.halves import deal
from ofmu.data.views import base_id
from ofmu.evaluation.evaluate import summarise
from ofmu.evaluation.paired import holm
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.truth_ratio import knowledge, log_truth_ratio

Row = dict[str, Any]
NAN = float("nan")

HEADLINES = ("forgetting_gap", "retention_gap", "privacy_gap")
ATTACKS = (
    "mia_loss",
    "mia_zlib",
    "mia_zlib_total",
    "mia_min_k",
    "mia_min_k_plus_plus",
    "mia_gradnorm",
    "mia_reference",
)
UTILITY = {
    "retain_Q_A_Prob": "retain probability",
    "retain_Q_A_ROUGE": "retain ROUGE",
    "retain_Truth_Ratio": "retain truth ratio",
    "ra_Q_A_Prob_normalised": "real authors probability",
    "ra_Q_A_ROUGE": "real authors ROUGE",
    "ra_Truth_Ratio": "real authors truth ratio",
    "wf_Q_A_Prob_normalised": "world facts probability",
    "wf_Q_A_ROUGE": "world facts ROUGE",
    "wf_Truth_Ratio": "world facts truth ratio",
}
LEGACY = {
    "ROUGE Real Authors": "ra_Q_A_ROUGE",
    "Prob. Real Authors": "ra_Q_A_Prob_normalised",
    "Truth Ratio Real Authors": "ra_Truth_Ratio",
    "ROUGE Real World": "wf_Q_A_ROUGE",
    "Prob. Real World": "wf_Q_A_Prob_normalised",
    "Truth Ratio Real World": "wf_Truth_Ratio",
    "ROUGE Retain": "retain_Q_A_ROUGE",
    "Prob. Retain": "retain_Q_A_Prob",
    "Truth Ratio Retain": "retain_Truth_Ratio",
    "ROUGE Forget": "forget_Q_A_ROUGE",
    "Prob. Forget": "forget_Q_A_Prob",
    "Truth Ratio Forget": "forget_truth_ratio",
    "Model Utility": "model_utility",
    "Forget Quality": "forget_quality",
}
LEGACY_ROWS = 300
"""What the legacy harness evaluates of forget10 and retain: their first 300 rows (fault F9)."""


def tables(measured: Sequence[Measured], *, split: str, seed: int) -> dict[str, Any]:
    """All tables.

    Args:
        measured: the models.
        split: ``forget10`` …
        seed: of what is drawn.

    Returns:
        ``tables``: title → rows; ``models``: name → metrics; ``summary``: name → keys of the common framework.
    """
    retrained = [each.records for each in measured if each.role == "retrained"]
    base = next((each.records for each in measured if each.role == "base"), None)
    halves = _halves(next(iter(measured)).records)
    shown = [each for each in measured if each.role != "base"]
    models = {each.name: _metrics(each, measured, halves, seed) for each in shown}
    whole = {each.name: parity(each.records, retrained) for each in shown}
    legacy = {each.name: parity(_first(each.records), [_first(records) for records in retrained]) for each in shown}
    return {
        "tables": {
            "headlines": [_headline_row(name, found) for name, found in models.items()],
            "parts of the headlines": [row for name, found in models.items() for row in _part_rows(name, found)],
            "parity: open-unlearning (whole sets)": [_public_row(name, v, split) for name, v in whole.items()],
            "parity: TOFU legacy (whole sets, first 300 rows)": [_legacy_row(name, v) for name, v in legacy.items()],
            "utility (nine parts, whole sets)": [_utility_row(name, values) for name, values in whole.items()],
            "forget quality (reporting half, paired)": _quality_rows(shown, retrained, halves),
            "privacy": [row for each in shown for row in _privacy_rows(each, models[each.name], halves, base)],
            "public aggregates (whole sets; not for ranking)": _aggregate_rows(shown, whole, retrained),
            "attacks": [row for each in shown for row in attack_rows(each.name, each.source)],
            "cost": [row for each in shown if (row := cost_row(each.name, each.source)) is not None],
        },
        "models": models,
        "summary": whole,
    }


def _metrics(own: Measured, measured: Sequence[Measured], halves: dict, seed: int) -> dict[str, Any]:
    """Everything about one model, as if it were the unlearned one."""
    records = Records({("unlearned", name): record for name, record in own.records.items()})
    number = 0
    for other in measured:
        number += other.role == "retrained"
        role = f"retrained-{number}" if other.role == "retrained" and number > 1 else other.role
        if other.role != "unlearned":
            for name, record in other.records.items():
                records.add(role, name, record)
    return summarise(records, halves=halves, seed=seed)


def _halves(records: Mapping[str, Record]) -> dict[str, dict[str, str]]:
    """Set → id → half, dealt by cluster over all sets at once; of the forget set its wrong answers alone."""
    own = {name: record for name, record in records.items() if "-" not in name}
    dealt = deal(*(record.clusters for record in own.values()))
    found: dict[str, dict[str, str]] = {}
    for name, record in own.items():
        if len(set(record.clusters)) >= 2:
            key = "forget-wrong" if name == "forget" else name
            found[key] = {i: dealt[cluster] for i, cluster in zip(record.ids, record.clusters)}
    return found


def _headline_row(name: str, metrics: Mapping[str, Any]) -> Row:
    scores = {score["name"]: score for score in metrics["scores"] if score["role"] == "unlearned"}
    row: Row = {"model": name}
    for headline in HEADLINES:
        score = scores.get(headline, {})
        row[headline] = score.get("value")
        row[f"{headline} interval"] = score.get("interval")
        row[f"{headline} parts"] = score.get("reason")
    for verdict in ("forgotten", "over_forgotten", "utility_kept"):
        row[verdict] = metrics["verdict"][verdict]
    for key in ("forget_loss", "forget_probability", "retain_probability", "mia_loss"):
        row[key] = scores.get(key, {}).get("value")
    return row


def _part_rows(name: str, metrics: Mapping[str, Any]) -> list[Row]:
    """A row for each part of each headline: no headline stands without."""
    return [
        {
            "model": name,
            "headline": score["name"],
            "part": part["name"],
            "original": part.get("original"),
            "this model": part.get("unlearned"),
            "retrained": part.get("retrained"),
            "gap": part.get("gap"),
            "gap interval": part.get("gap_interval"),
            "share": part["value"],
            "reason": part["reason"],
        }
        for score in metrics["scores"]
        if score["role"] == "unlearned" and score["name"] in HEADLINES
        for part in score["parts"]
    ]


def _public_row(name: str, values: Values, split: str) -> Row:
    return {
        "model": name,
        f"forget_quality ({split})": values["forget_quality"],
        "log10": values["forget_quality_log10"],
        "model_utility": values["model_utility"],
        "forget_truth_ratio": values["forget_truth_ratio"],
    }


def _legacy_row(name: str, values: Values) -> Row:
    return {"Method": name, **{column: values.get(key, NAN) for column, key in LEGACY.items()}, "Submitted By": ""}


def _utility_row(name: str, values: Values) -> Row:
    return {"model": name, **{title: values.get(key, NAN) for key, title in UTILITY.items()}}


def _quality_rows(shown: Sequence[Measured], retrained: Sequence[Mapping[str, Record]], halves: dict) -> list[Row]:
    """Forget quality of each model; the tests of the unlearned ones are reported together, hence Holm's p too."""
    rows = {each.name: quality_row(each.records, retrained, halves) for each in shown}
    found = [{"model": name, **row} for name, row in rows.items() if row is not None]
    unlearned = {each.name for each in shown if each.role == "unlearned"}
    tested = [row for row in found if row["model"] in unlearned and np.isfinite(row["sign-flip p"])]
    adjusted = dict(zip([row["model"] for row in tested], holm([row["sign-flip p"] for row in tested]), strict=True))
    return [{**row, "sign-flip p, Holm": float(adjusted.get(row["model"], NAN))} for row in found]


def _aggregate_rows(
    shown: Sequence[Measured], whole: Mapping[str, Values], retrained: Sequence[Mapping[str, Record]]
) -> list[Row]:
    reference = parity(retrained[0], retrained) if retrained else None
    return [
        {"model": each.name, **aggregate_row(whole[each.name], _knowledge(each.records), reference)} for each in shown
    ]


def _knowledge(records: Mapping[str, Record]) -> float:
    """Mean 1/(1 + TR) of the model on the whole forget set, as everything else in that table."""
    if "forget-wrong" not in records:
        return NAN
    return float(np.mean(knowledge(log_truth_ratio(*answers(records, "forget")))))


def _privacy_rows(
    own_model: Measured, metrics: Mapping[str, Any], halves: dict, base: Mapping[str, Record] | None
) -> list[Row]:
    """One row an attack: A_o, A_u, A_r, the gap with its interval, and how it does at one threshold."""
    rows = []
    for attack in ATTACKS:
        by_role = {score["role"]: score for score in metrics["scores"] if score["name"] == attack}
        own = by_role.get("unlearned")
        if own is None or own["value"] is None:
            continue
        rows.append(
            {
                "model": own_model.name,
                "attack": attack,
                "original": by_role.get("original", {}).get("value"),
                "this model": own["value"],
                "interval": own["interval"],
                "retrained": _mean([score["value"] for role, score in by_role.items() if role.startswith("retrained")]),
                "gap": own["gap"],
                "gap interval": own["gap_interval"],
                **at_thresholds(own_model.records, attack, halves, base),
            }
        )
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    """Over the seeds of the retrained model, as the gap has it; None where one is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _first(records: Mapping[str, Record]) -> dict[str, Record]:
    """Records of which the forget and retain sets, with their other forms, are cut to their first 300 examples."""
    kept = {name: set(record.ids[:LEGACY_ROWS]) for name, record in records.items() if name in ("forget", "retain")}
    found = {}
    for name, record in records.items():
        own = kept.get(name.split("-")[0])
        found[name] = record if own is None else record.take([i for i, n in enumerate(record.ids) if _base(n) in own])
    return found


def _base(name: str) -> str:
    return base_id(name) or name
