"""The usual measures on attacked models, beside the same on the models as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ofmu.evaluation import statistics
from ofmu.evaluation.attack import Attacked, Compared, Figure, figure
from ofmu.evaluation.evaluate import measure
from ofmu.evaluation.metric import Measurement
from ofmu.evaluation.metrics import all_metrics
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records

MEASURES = (
    "loss",
    "probability",
    "exact_memorization",
    "extraction_strength",
    "accuracy",
    "mia_loss",
    "mia_confidence",
)
"""Metrics that tell recovery from damage: on what was forgotten, on what was kept, and membership."""


def measured_figures(
    variant: str,
    records: Mapping[str, Mapping[str, Record]],
    compared: Compared,
    before: Mapping[str, Measurement],
) -> list[Figure]:
    """A figure for each usual measure that can be taken.

    Args:
        variant: what was done.
        records: role → set → record of the attacked model.
        compared: the models as they were.
        before: the same measures on the models as they were, from :func:`measured`.
    """
    attacked = Records(removed_classes=compared.plain.removed_classes)
    for role, sets in records.items():
        for name, record in sets.items():
            attacked.add(role, name, record)
    return [
        figure(
            variant,
            name,
            _values(before[name]) if name in before else {},
            _values(found),
            gap_interval=found.scores["unlearned"].gap_interval,
        )
        for name, found in measured(attacked, compared).items()
        if _values(found).get("unlearned") is not None
    ]


def mean_gap_interval(
    values: Mapping[str, statistics.Floats], clusters: Sequence[str], name: str
) -> tuple[float, float] | None:
    """The 95 % interval of the mean of m_u′ − m_r′, clusters resampled; None without a retrained model or few clusters.

    Args:
        values: role → (N,), a value an example.
        clusters: of the examples.
        name: of the attack, which seeds the resampling.
    """
    retrained = [each for role, each in values.items() if role.startswith("retrained")]
    numbers = statistics.number_clusters(clusters)
    if not retrained or numbers.max() + 1 < statistics.MIN_CLUSTERS:
        return None
    difference = values["unlearned"] - np.mean(retrained, axis=0)
    draws = statistics.bootstrap_means(difference[None], numbers, statistics.generator(name, *clusters))
    return statistics.interval(draws[0])


def by_variant(attacked: Mapping[str, Attacked]) -> dict[str, dict[str, Mapping[str, Record]]]:
    """Variant → role → set → record."""
    found: dict[str, dict[str, Mapping[str, Record]]] = {}
    for role, each in attacked.items():
        for variant, sets in each.records.items():
            found.setdefault(variant, {})[role] = sets
    return found


def measured(records: Records, compared: Compared) -> dict[str, Measurement]:
    """Name → usual measure of all models, on the halves that are reported."""
    known = all_metrics()
    kinds = [known[name] for name in MEASURES if name in known]
    return measure(records, halves=compared.halves, metrics=kinds)


def _values(found: Measurement) -> dict[str, float | None]:
    return {role: score.value if np.isfinite(score.value) else None for role, score in found.scores.items()}
