"""How far the unlearned model is from one that never saw the data: gap and residual, with paired intervals.

Legend: m_u unlearned, m_o original, m_r reference (the mean over its seeds), s_r their standard deviation.

Source: METRICS.md §9 and §10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofmu.evaluation import statistics
from ofmu.evaluation.metric import Measurement
from ofmu.evaluation.records import Records
from ofmu.evaluation.statistics import Floats

Interval = tuple[float, float]


@dataclass(frozen=True)
class Gap:
    """One model against a reference on one metric.

    Args:
        value: m − m_r, signed.
        interval: its 95 % interval; the same resampled clusters for both. None: too few clusters.
        size_interval: the 95 % interval of |m − m_r|.
        reference: m_r.
        residual: (m − m_r)/(m_o − m_r); None with the ``reason``.
        residual_interval: its 95 % interval.
        reason: why there is no residual.
    """

    value: float
    interval: Interval | None
    size_interval: Interval | None
    reference: float
    residual: float | None
    residual_interval: Interval | None
    reason: str | None


def gap(measurement: Measurement, role: str, reference: Sequence[str]) -> Gap | None:
    """Compare a model with reference models; None where one of them has no value.

    The residual is undefined ("no signal") if |m_o − m_r| ≤ max(3 s_r, 2 SE), SE the bootstrap error of m_o −
    m_r.

    Args:
        measurement: the metric on all models.
        role: the model to compare.
        reference: roles of the reference models, one for each seed.
    """
    value, against = measured(measurement, role), mean_of(measurement, reference)
    if value is None or against is None:
        return None
    draws = compared_draws(measurement.draws, (role, "original"), reference, measurement.metric.name)
    differences = None if draws is None else draws[role] - draws["reference"]
    before = measured(measurement, "original")
    residual, bounds, reason = None, None, "the model before unlearning was not measured"
    if before is not None:
        spread = 3 * deviation(measurement, reference)
        if draws is not None and "original" in draws:
            spread = max(spread, 2 * float(np.std(draws["original"] - draws["reference"])))
        reason = "no signal: the model before unlearning and the reference do not differ by more than chance"
        if abs(before - against) > spread:
            residual, reason = (value - against) / (before - against) + 0.0, None  # no -0.0
            if differences is not None and draws is not None and "original" in draws:
                with np.errstate(divide="ignore", invalid="ignore"):
                    bounds = statistics.interval(differences / (draws["original"] - draws["reference"]))
    return Gap(
        value=value - against,
        interval=None if differences is None else statistics.interval(differences),
        size_interval=None if differences is None else statistics.interval(np.abs(differences)),
        reference=against,
        residual=residual,
        residual_interval=bounds,
        reason=reason,
    )


def with_gaps(measurement: Measurement, records: Records) -> Measurement:
    """The same measurement, each score with its gap to the retrained models, if there are any."""
    reference = records.retrained
    if not reference:
        return measurement
    fingerprints = [record.model for role in reference for (r, _), record in records.items() if r == role]
    name = "+".join(dict.fromkeys(fingerprints))
    scores = {}
    for role, score in measurement.scores.items():
        found = gap(measurement, role, reference)
        scores[role] = score
        if found is not None:
            scores[role] = replace(
                score,
                reference=name,
                gap=found.value,
                gap_interval=found.interval,
                residual=found.residual,
                residual_interval=found.residual_interval,
                residual_reason=found.reason,
            )
    return replace(measurement, scores=scores)


def measured(measurement: Measurement, role: str) -> float | None:
    """The finite value of a role, or None."""
    score = measurement.scores.get(role)
    return score.value if score is not None and np.isfinite(score.value) else None


def mean_of(measurement: Measurement, roles: Sequence[str]) -> float | None:
    """Mean over the seeds of a reference; None if one has no value or there is none."""
    values = [measured(measurement, role) for role in roles]
    if not values or any(value is None for value in values):
        return None
    return float(np.mean([value for value in values if value is not None]))


def deviation(measurement: Measurement, roles: Sequence[str]) -> float:
    """Standard deviation over the seeds of a reference; 0 for a single one."""
    values = [measurement.scores[role].value for role in roles]
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def compared_draws(
    draws: Mapping[str, Floats], roles: Sequence[str], reference: Sequence[str], name: str
) -> dict[str, Floats] | None:
    """Paired draws of some roles and of the reference, whose seeds are resampled outside the clusters.

    Args:
        draws: role → (B,).
        roles: roles wanted; those without draws are left out, but the first must have them.
        reference: roles of the reference's seeds.
        name: what the resampling of seeds is seeded with.

    Returns:
        role → (B,), the reference under ``"reference"``; None where draws are missing.
    """
    if roles[0] not in draws or not reference or any(role not in draws for role in reference):
        return None
    found = {role: draws[role] for role in roles if role in draws}
    seeds = np.stack([draws[role] for role in reference])  # (S, B)
    if len(seeds) > 1:
        chosen = statistics.generator(name, "seeds").integers(0, len(seeds), size=(seeds.shape[1], len(seeds)))
        found["reference"] = seeds[chosen, np.arange(seeds.shape[1])[:, None]].mean(axis=1)
    else:
        found["reference"] = seeds[0]
    return found


def below(interval: Interval | None, bound: float) -> bool | None:
    """True if the interval lies wholly below the bound, False if wholly above, else None."""
    if interval is None:
        return None
    low, high = interval
    return True if high < bound else False if low > bound else None
