"""Forget quality: is the unlearned model's truth ratio distributed as the retrained model's?

Legend: u unlearned, r retrained; d is the mean over examples of log TR_u − log TR_r; δ how far apart retrained models
are among themselves. The public p-value takes paired, clustered values as independent and falls with the number
of examples, so it is reported, and is not the headline.

Source: METRICS.md §3.1, §10.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ofmu.errors import InputError
from ofmu.evaluation.kolmogorov_smirnov import kolmogorov_smirnov
from ofmu.evaluation.paired import PairedTest, equivalent, paired_test
from ofmu.evaluation.seeds import MIN_SEEDS
from ofmu.evaluation.statistics import (
    MIN_CLUSTERS,
    RESAMPLES,
    Floats,
    Ints,
    cluster_weights,
    generator,
    interval,
    number_clusters,
)


@dataclass(frozen=True)
class ForgetQuality:
    """The public p-value, and what can be concluded instead.

    Args:
        n: examples that both models have a finite log TR of.
        statistic: D of the first retrained model, in [0, 1]; down.
        statistic_interval: 95 %, authors resampled in pairs; None for fewer than eight clusters. D of a resample leans
            upwards where the true D is small.
        pvalue: ``parity`` forget quality against the first retrained model; up.
        log10_pvalue: right where the p-value underflows.
        difference: d with its interval, sign-flip p-value and number of clusters; r is the mean of the retrained
            models.
        margin: δ = largest |mean difference| between two retrained models; None with fewer than three.
        equivalent: the 90 % interval of d lies inside ±δ; None where interval or δ are unknown.
    """

    n: int
    statistic: float
    statistic_interval: tuple[float, float] | None
    pvalue: float
    log10_pvalue: float
    difference: PairedTest
    margin: float | None
    equivalent: bool | None


def forget_quality(
    unlearned: ArrayLike, retrained: ArrayLike, clusters: Sequence[str], name: str, data: str = ""
) -> ForgetQuality:
    """Compare the log truth ratios of an unlearned model with those of one or more retrained ones.

    Args:
        unlearned: (n,) log TR of u on the forget set; NaN where excluded.
        retrained: (n,) or (S, n) log TR of each retrained model on the same examples, in the same order.
        clusters: (n,) author of each example.
        name: of the metric, and
        data: fingerprint of the data: the seed of the resamples.

    Raises:
        InputError: shapes that do not pair, or no example that all models have.
    """
    u, r = np.asarray(unlearned, dtype=np.float64), np.atleast_2d(np.asarray(retrained, dtype=np.float64))
    if r.shape[1] != len(u) or len(clusters) != len(u):
        raise InputError(f"{len(u)} unlearned, {r.shape[1]} retrained values and {len(clusters)} clusters do not pair")
    kept = np.isfinite(u) & np.isfinite(r).all(axis=0)
    if not kept.any():
        raise InputError("no example has a finite truth ratio under both models")
    u, r = u[kept], r[:, kept]
    authors = [cluster for cluster, keep in zip(clusters, kept) if keep]
    test = kolmogorov_smirnov(u, r[0])
    difference = paired_test(u, r.mean(axis=0), authors, name, data)
    margin = retrained_margin(r)
    return ForgetQuality(
        n=len(u),
        statistic=test.statistic,
        statistic_interval=_interval(u, r[0], number_clusters(authors), generator(name, data, "D")),
        pvalue=test.pvalue,
        log10_pvalue=test.log10_pvalue,
        difference=difference,
        margin=margin,
        equivalent=equivalent(difference, margin),
    )


def retrained_margin(retrained: Floats) -> float | None:
    """δ: the largest |mean difference| between two of S retrained models, (S, n); None if S < 3."""
    if len(retrained) < MIN_SEEDS:
        return None
    return max(abs(float(np.mean(a - b))) for a, b in itertools.combinations(retrained, 2))


def bootstrap_statistics(
    first: Floats, second: Floats, clusters: Ints, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Floats:
    """Bootstrap draws (B,) of D, the same clusters drawn for both samples.

    Args:
        first: (n,) values of one model.
        second: (n,) values of another on the same examples.
        clusters: (n,), from :func:`ofmu.evaluation.statistics.number_clusters`.
        rng: from :func:`ofmu.evaluation.statistics.generator`.
        resamples: B.
    """
    values = np.concatenate([first, second])
    order = np.argsort(values, kind="stable")
    side = np.repeat([1.0, -1.0], len(first))[order]
    cluster_of = np.concatenate([clusters, clusters])[order]
    group_ends = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)
    sizes = np.bincount(clusters).astype(np.float64)
    blocks = []
    for weights in cluster_weights(len(sizes), rng, resamples, len(values)):
        apart = np.cumsum(weights[:, cluster_of] * side, axis=1)[:, group_ends]
        blocks.append(np.abs(apart).max(axis=1) / (weights @ sizes))
    return np.concatenate(blocks)


def _interval(u: Floats, r: Floats, clusters: Ints, rng: np.random.Generator) -> tuple[float, float] | None:
    if int(clusters.max()) + 1 < MIN_CLUSTERS:
        return None
    return interval(bootstrap_statistics(u, r, clusters, rng))
