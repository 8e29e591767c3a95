"""MUSE's tables: four criteria a model, and how they change over the folds of the other two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ofmu.evaluation import statistics
from ofmu.evaluation.attack_scores import min_k, min_k_muse, privleak, privleak_muse, privleak_open_unlearning
from ofmu.evaluation.muse import slope_per_fold
from ofmu.evaluation.record import Record

if TYPE_CHECKING:
    from ofmu.benchmarks.muse_models import Model
    from ofmu.benchmarks.muse_options import Options, Wanted

CRITERIA = ("verbmem", "forget_knowmem", "privleak", "retain_knowmem")
TITLES = {"scal": "scalability", "sust": "sustainability"}


def tables(found: Sequence[tuple[Wanted, Model]], options: Options) -> dict[str, list[dict[str, Any]]]:
    """Title → rows: for each mode the criteria 1–4, then a table of folds for `scal` and for `sust` with slopes.

    Args:
        found: the models in the order of the rows.
        options: modes and corpus.
    """
    made = {}
    for mode in options.mode:
        reference = next((model for wanted, model in found if wanted.name == "retrained" and not wanted.fold), None)
        rows = [(wanted, _row(wanted, model, mode, reference, options.corpus)) for wanted, model in found]
        own = [row for wanted, row in rows if wanted.part == "model"]
        if own:
            made[f"criteria 1 to 4 ({mode})"] = own
        for part, title in TITLES.items():
            folds = [{"model": row["model"], "fold": wanted.fold, **row} for wanted, row in rows if wanted.part == part]
            if folds:
                made[f"{title} ({mode})"] = [*folds, *_slopes(folds)]
    return made


def auc(records: Mapping[str, Record], mode: str) -> float:
    """AUC of min-40 % of forget against holdout documents; NaN without them.

    `parity:muse` takes ⌊.4 T⌋ tokens without a floor of 1; any text too short for that makes it NaN.
    """
    if not records:
        return math.nan
    attack = min_k_muse if mode == "parity:muse" else min_k
    sides = []
    for name in ("forget", "holdout"):
        record = records[name]
        content = record.columns["content"].astype(bool)
        losses = np.split(record.columns["nll"][content], np.cumsum(record.counts(content))[:-1])
        sides.append(np.array([attack(-each) for each in losses]))
    return statistics.auc(*sides) if all(np.isfinite(side).all() for side in sides) else math.nan


def leak(own: float, retrained: float | None, mode: str, corpus: str | None) -> float:
    """Privacy leakage of an AUC in a mode; NaN where its yardstick is missing."""
    if mode == "parity:open_unlearning":
        return privleak_open_unlearning(own, retrained)
    if mode == "parity:muse" and corpus is not None:
        return privleak_muse(own, corpus)
    return privleak(own, retrained)  # the same quotient as MUSE's, written with A' = 1 − A


def _row(wanted: Wanted, model: Model, mode: str, reference: Model | None, corpus: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"model": wanted.name}
    for criterion in ("verbmem", "forget_knowmem", "retain_knowmem"):
        each = model.memorisation.get((mode, criterion))
        row[criterion] = None if each is None else each.value
        row[f"{criterion}_interval"] = None if each is None else _interval(each.values, each.clusters, criterion)
        row[f"{criterion}_n"] = None if each is None else len(each.ids)
        row[f"{criterion}_cut"] = None if each is None else float(each.cut.mean())
    own = auc(model.records, mode)
    row["privleak"] = leak(own, None if reference is None else auc(reference.records, mode), mode, corpus)
    row["auc"] = own
    row["auc_gap"] = math.nan if reference is None else own - auc(reference.records, mode)
    return row


def _interval(values: Any, clusters: Sequence[str], name: str) -> tuple[float, float] | None:
    """95 % over clusters; None where they are fewer than eight."""
    numbered = statistics.number_clusters(clusters)
    if len(np.unique(numbered)) < statistics.MIN_CLUSTERS:
        return None
    return statistics.interval(statistics.bootstrap_means(values[None], numbered, statistics.generator(name))[0])


def _slopes(folds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each name: the least-squares change of each criterion a fold."""
    names = dict.fromkeys(row["model"] for row in folds)
    slopes = []
    for name in names:
        own = [row for row in folds if row["model"] == name]
        slope = {each: slope_per_fold([_number(row[each]) for row in own]) for each in CRITERIA}
        slopes.append({**dict.fromkeys(own[0]), "model": name, "fold": "slope per fold", **slope})
    return slopes


def _number(value: float | None) -> float:
    return math.nan if value is None else value
