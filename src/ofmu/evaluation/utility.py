"""Model utility as a score of each model, with its interval and its nine parts.

Source: METRICS.md §3.2, §10.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ofmu.evaluation import statistics
from ofmu.evaluation.aggregates import UTILITY_PARTS, model_utility
from ofmu.evaluation.gaps import measured
from ofmu.evaluation.metric import Measurement
from ofmu.evaluation.score import Score
from ofmu.evaluation.statistics import Floats

NAME = "model_utility"
NORMALISED = ("real_authors_probability", "world_facts_probability")
"""Parts whose probability is the normalised one."""


def scores(measurements: Mapping[str, Measurement], roles: tuple[str, ...]) -> list[Score]:
    """Model utility of each model on the halves that are reported; none where a part was not measured at all.

    Args:
        measurements: score name → measurement.
        roles: of all models.
    """
    parts = {part: measurements.get(_measure(part)) for part in UTILITY_PARTS}
    known = {part: found for part, found in parts.items() if found is not None}
    return [_score(known, role) for role in roles] if len(known) == len(parts) else []


def _measure(part: str) -> str:
    return part.replace("_probability", "_normalised_probability") if part in NORMALISED else part


def _score(parts: Mapping[str, Measurement], role: str) -> Score:
    values = {part: measured(found, role) for part, found in parts.items()}
    missing = [_measure(part) for part, value in values.items() if value is None]
    known = {part: value for part, value in values.items() if value is not None}
    bounds = None if missing else _interval(parts, role)
    reason = f"{', '.join(missing)}: not measured" if missing else None if bounds else "a part has no interval"
    return Score(
        name=NAME,
        role=role,
        value=model_utility(known),
        direction="up",
        unit="share",
        sets=("retain", "real_authors", "world_facts"),
        half="report" if any(found.scores[role].half == "report" for found in parts.values()) else "whole",
        interval=bounds,
        reason=reason,
        parts=tuple({"name": _measure(part), role: value} for part, value in values.items()),
    )


def _interval(parts: Mapping[str, Measurement], role: str) -> tuple[float, float] | None:
    """The harmonic mean in every draw: the same clusters in parts of the same set."""
    draws: list[Floats] = []
    for found in parts.values():
        drawn = found.draws_for(NAME).get(role)
        if drawn is None:
            return None
        draws.append(drawn)
    with np.errstate(divide="ignore"):
        return statistics.interval(len(draws) / np.sum(1 / np.stack(draws), axis=0))
