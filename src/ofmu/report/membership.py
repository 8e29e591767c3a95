"""The loss attack as a curve: how well a low loss betrays what a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofmu.report.words import finite


@dataclass(frozen=True)
class Attack:
    """Rates of every threshold, from "nobody is a member" to "everybody is", and the area below them."""

    false_positive: list[float]
    true_positive: list[float]
    area: float


def loss_attack(members: Sequence[float], others: Sequence[float]) -> Attack | None:
    """ROC of the rule "loss below a threshold: was trained on".

    The area is AUC = P(a_h > a_f) + ½ P(a_h = a_f): 1 if every member's loss is below every other's.

    Args:
        members: losses of the forget set.
        others: losses of the holdout, on which no model was trained.

    Returns:
        The curve, None if one side has no finite loss.

    >>> loss_attack([1, 2, 3], [2, 4, 5]).area  # 7.5 of 9 pairs in order
    0.8333333333333334

    Source: METRICS.md §4.
    """
    f = np.sort([value for value in map(finite, members) if value is not None])
    h = np.sort([value for value in map(finite, others) if value is not None])
    if len(f) == 0 or len(h) == 0:
        return None
    thresholds = np.unique(np.concatenate([f, h]))
    hits = np.searchsorted(f, thresholds, side="right") / len(f)
    alarms = np.searchsorted(h, thresholds, side="right") / len(h)
    hits, alarms = np.concatenate([[0.0], hits]), np.concatenate([[0.0], alarms])
    area = float(np.sum(np.diff(alarms) * (hits[1:] + hits[:-1]) / 2))
    return Attack(alarms.tolist(), hits.tolist(), area)
