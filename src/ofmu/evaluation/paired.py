"""Two models on the same examples: is there a difference, and may one say that there is none?

Source: METRICS.md §10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ofmu.errors import InputError
from ofmu.evaluation.statistics import (
    MIN_CLUSTERS,
    Floats,
    Ints,
    bootstrap_means,
    generator,
    interval,
    number_clusters,
    sign_flip,
)

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class PairedTest:
    """A mean difference and what chance could do.

    Args:
        difference: mean over examples of a − b.
        interval: 95 %, whole clusters resampled; None for fewer than eight clusters.
        interval_90: 90 %, for equivalence; None likewise.
        pvalue: two-sided, signs of the clusters' mean differences flipped; NaN without examples.
        n: examples that both models have.
        clusters: their clusters.
    """

    difference: float
    interval: Interval
    interval_90: Interval
    pvalue: float
    n: int
    clusters: int


def paired_test(a: ArrayLike, b: ArrayLike, clusters: Sequence[str], name: str, data: str = "") -> PairedTest:
    """Compare two models or methods on the same examples; 0/1 values compare accuracies.

    Args:
        a: (n,) values of one; NaN where excluded, then excluded for both.
        b: (n,) values of the other, same examples in the same order.
        clusters: (n,) cluster of each example.
        name: of the metric, and
        data: fingerprint of the data: the seed of resamples and random signs.

    Raises:
        InputError: lengths that differ.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not len(left) == len(right) == len(clusters):
        raise InputError(f"{len(left)} and {len(right)} values in {len(clusters)} clusters do not pair")
    d = left - right
    kept = np.isfinite(d)
    d, groups = d[kept], number_clusters([cluster for cluster, keep in zip(clusters, kept) if keep])
    if len(d) == 0:
        return PairedTest(float("nan"), None, None, float("nan"), 0, 0)
    wide, narrow = _intervals(d, groups, generator(name, data))
    p = sign_flip(cluster_means(d, groups), generator(name, data, "signs"))
    return PairedTest(float(d.mean()), wide, narrow, p, len(d), int(groups.max()) + 1)


def cluster_means(values: Floats, clusters: Ints) -> Floats:
    """Mean of each cluster: (n,) → (K,)."""
    return np.bincount(clusters, weights=values) / np.bincount(clusters)


def equivalent(test: PairedTest, margin: float | None) -> bool | None:
    """Two one-sided tests at 5 %: does the 90 % interval of the difference lie inside ±margin?

    This is how "as good as retraining" may be claimed; a difference that is not significant is not enough.

    Returns:
        None where the margin or the interval is unknown.
    """
    if margin is None or test.interval_90 is None:
        return None
    low, high = test.interval_90
    return -margin < low and high < margin


def holm(pvalues: ArrayLike) -> Floats:
    """Holm's adjusted p-values of several tests: p_(i) → max_{j≤i} min(1, (m − j + 1) p_(j)).

    Args:
        pvalues: (m,) of the tests that are reported together.

    Returns:
        (m,), in the order given; reject where below the level.

    Raises:
        InputError: a p-value outside [0, 1]; NaN too, for a test that was not made is not one of the m.

    >>> holm([0.01, 0.04, 0.03]).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(pvalues, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("Holm's correction needs p-values between 0 and 1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1.0, np.arange(len(p), 0, -1) * p[order]))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted


def _intervals(d: Floats, clusters: Ints, rng: np.random.Generator) -> tuple[Interval, Interval]:
    if int(clusters.max()) + 1 < MIN_CLUSTERS:
        return None, None
    draws = bootstrap_means(d[None], clusters, rng)[0]
    return interval(draws), interval(draws, level=0.90)
