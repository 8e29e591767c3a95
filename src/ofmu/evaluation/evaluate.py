"""From records to everything that ``metrics.json`` holds: scores, headlines, verdict and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ofmu.evaluation import average_gap, utility
from ofmu.evaluation.gaps import with_gaps
from ofmu.evaluation.headlines import headlines
from ofmu.evaluation.metric import Halves, Measurement, Metric
from ofmu.evaluation.metrics import all_metrics
from ofmu.evaluation.records import Records, place
from ofmu.evaluation.retain_sample import drawn
from ofmu.evaluation.score import Score
from ofmu.evaluation.verdict import verdict

_NOT_STORED = ("per_sample",)  # per-example values follow from the records, which are stored beside


def summarise(
    records: Records,
    *,
    halves: Halves | None = None,
    seed: int = 0,
    cost: Mapping[str, Any] | None = None,
    metrics: Sequence[type[Metric]] | None = None,
) -> dict[str, Any]:
    """Everything that is reported about models, ready for JSON: no NaN, each null with its reason.

    Args:
        records: (role, set) → what the model did there.
        halves: set → id → ``"steer"`` or ``"report"`` for the sets that steered the run; only the half
            ``"report"`` is measured. A set that is not there steered nothing and is measured whole; so is the
            forget set.
        seed: of the run; draws the retain clusters that are measured where there are more than 400.
        cost: gradients, seconds … as the run counted them.
        metrics: metric classes; all that fit the modality if left out.

    Returns:
        ``{"scores": [...], "verdict": {...}, "cost": {...}}``.
    """
    measurements = measure(records, halves=halves, seed=seed, metrics=metrics)
    found = headlines(measurements, records)
    scores = [score for each in measurements.values() for score in each.scores.values()]
    scores += [headline.score() for headline in found]
    scores += utility.scores(measurements, records.roles)
    if records.modality == "image" and records.retrained:
        scores.append(average_gap.score(measurements, records))
    return {
        "scores": [as_json(score) for score in scores],
        "verdict": verdict(measurements, records),
        "cost": _safe({"gradients": None, "seconds": None} | dict(cost or {})),
    }


def measure(
    records: Records,
    *,
    halves: Halves | None = None,
    seed: int = 0,
    metrics: Sequence[type[Metric]] | None = None,
) -> dict[str, Measurement]:
    """Score name → the measurement on all models, gaps to the retrained models included.

    Args:
        records: (role, set) → what the model did there.
        halves: see :func:`summarise`.
        seed: see :func:`summarise`.
        metrics: metric classes; all that fit the modality if left out.
    """
    kinds = list(all_metrics().values()) if metrics is None else list(metrics)
    reported = _limited(records, halves or {}, seed)
    fitting = [kind for kind in kinds if kind.modality in ("any", records.modality)]
    instances = sorted((each for kind in fitting for each in kind.over(records)), key=_place)
    return {each.name: with_gaps(each.measure(records, halves=reported), records) for each in instances}


def as_json(score: Score) -> dict[str, Any]:
    """A score as JSON can hold it.

    Raises:
        ValueError: for a score of the half that steered: that is never reported.
    """
    if score.half == "steer":
        raise ValueError(f"{score.name} was measured on the half that steers; only the other half is reported")
    return {field.name: _safe(getattr(score, field.name)) for field in fields(score) if field.name not in _NOT_STORED}


def _place(metric: Metric) -> tuple[int, tuple[int, str]]:
    """Where a score stands in a list: attacks last, before them set by set."""
    return len(metric.sets), place(metric.sets[0])


def _limited(records: Records, halves: Halves, seed: int) -> Halves:
    """The same halves with at most 400 report clusters of the retain set."""
    if "retain" not in halves or "retain" not in records.sets:
        return halves
    clusters = {
        name: cluster
        for record in records.of_set("retain").values()
        for name, cluster in zip(record.ids, record.clusters)
        if name in halves["retain"]
    }
    names, own = list(clusters), halves["retain"]
    chosen = {names[i] for i in drawn(list(clusters.values()), [own[n] for n in names], "report", seed=seed)}
    kept = {name: half if half != "report" or name in chosen else "not drawn" for name, half in own.items()}
    return {**halves, "retain": kept}


def _safe(value: Any) -> Any:
    """Tuples as lists, numbers that JSON has no word for as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _safe(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(part) for part in value]
    return value
