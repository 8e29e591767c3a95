"""The average gap of image tables: how far four figures are from those of the retrained model, in points.

Legend: UA = 100 − accuracy on D_f, RA and TA the accuracies on retain and test set, MIA the MIA-efficacy; in per cent.

Source: METRICS.md §8 (average_gap).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ofmu.evaluation import statistics
from ofmu.evaluation.gaps import compared_draws, mean_of, measured
from ofmu.evaluation.metric import Measurement
from ofmu.evaluation.records import Records
from ofmu.evaluation.score import Score
from ofmu.evaluation.statistics import Floats

PARTS = {"UA": "forget_accuracy", "RA": "retain_accuracy", "TA": "test_accuracy", "MIA": "mia_efficacy"}
"""Name in tables → the score that it is made of."""


@dataclass(frozen=True)
class AverageGap:
    """The mean gap and its four parts, in points.

    Equal weights hide that two points of RA were traded for two of MIA: the parts are printed with it.

    Args:
        value: mean of the parts, ≥ 0, down.
        parts: UA, RA, TA, MIA → |u − r|.
    """

    value: float
    parts: Mapping[str, float]


def average_gap(unlearned: Mapping[str, float], retrained: Mapping[str, float]) -> AverageGap:
    """Mean over UA, RA, TA, MIA of |u − r|.

    Args:
        unlearned: UA, RA, TA, MIA in per cent.
        retrained: the same of the retrained model.

    Returns:
        In points; NaN if one of them is.

    >>> u = {"UA": 5.2, "RA": 99.9, "TA": 93.0, "MIA": 15.0}
    >>> r = {"UA": 5.0, "RA": 100.0, "TA": 94.2, "MIA": 12.9}
    >>> round(average_gap(u, r).value, 2)
    0.9
    """
    parts = {name: abs(unlearned[name] - retrained[name]) for name in PARTS}
    return AverageGap(sum(parts.values()) / len(parts), parts)


def score(measurements: Mapping[str, Measurement], records: Records) -> Score:
    """The average gap of the unlearned model as a score; NaN with the reason unless all four parts are known.

    Args:
        measurements: score name → measurement, with the four of :data:`PARTS`.
        records: for the roles of the retrained models; over several seeds their mean counts.
    """
    reference = records.retrained
    if not reference:
        return _score(float("nan"), "no retrained reference")
    parts, models, draws = [], {}, []
    for name, own in PARTS.items():
        found = measurements.get(own)
        u = None if found is None else measured(found, "unlearned")
        r = None if found is None else mean_of(found, reference)
        if found is None or u is None or r is None:
            return _score(float("nan"), f"{own} was not measured on every model")
        models[name] = _in_table(name, u), _in_table(name, r)
        parts.append({"name": name, "unlearned": models[name][0], "retrained": models[name][1]})
        drawn = compared_draws(found.draws_for("average_gap"), ("unlearned",), reference, "average_gap")
        if drawn is not None:
            draws.append(100 * np.abs(drawn["unlearned"] - drawn["reference"]))
    value = average_gap({n: u for n, (u, _) in models.items()}, {n: r for n, (_, r) in models.items()})
    described = tuple({**part, "gap": part["unlearned"] - part["retrained"]} for part in parts)
    interval = statistics.interval(_mean(draws)) if len(draws) == len(PARTS) else None
    return _score(value.value, None if interval else "a part has no interval", described, interval)


def _score(
    value: float,
    reason: str | None,
    parts: tuple[Mapping[str, object], ...] = (),
    interval: tuple[float, float] | None = None,
) -> Score:
    return Score(
        name="average_gap",
        role="unlearned",
        value=value,
        direction="down",
        unit="points",
        sets=("forget", "retain", "test"),
        interval=interval,
        reason=reason,
        parts=parts,
    )


def _in_table(name: str, share: float) -> float:
    return 100 * (1 - share if name == "UA" else share)


def _mean(draws: list[Floats]) -> Floats:
    return np.mean(np.stack(draws), axis=0)
