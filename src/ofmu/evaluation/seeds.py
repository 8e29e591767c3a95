"""Several runs of one method: how much a number depends on the seed.

Source: METRICS.md §10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from ofmu.errors import InputError
from ofmu.evaluation.statistics import RESAMPLES, Floats, Ints, bootstrap_means

MIN_SEEDS = 3


@dataclass(frozen=True)
class OverSeeds:
    """A value over seeds.

    Args:
        mean: over seeds; NaN if a seed has no value.
        sd: sample standard deviation (n − 1); None for a single seed.
        interval: mean ± t · sd/√n at 95 %; None for a single seed.
        seeds: how many.
    """

    mean: float
    sd: float | None
    interval: tuple[float, float] | None
    seeds: int

    def __str__(self) -> str:
        if self.sd is None:
            return f"{self.mean:.4g} (single seed)"
        return f"{self.mean:.4g} ± {self.sd:.2g} ({self.seeds} seeds)"


def over_seeds(values: Sequence[float] | Floats, level: float = 0.95) -> OverSeeds:
    """Mean, standard deviation and t-interval over seeds.

    Args:
        values: the number of each run.
        level: of the interval.

    Raises:
        InputError: no run at all.

    >>> str(over_seeds([1.0, 2.0, 3.0])), str(over_seeds([0.5]))
    ('2 ± 1 (3 seeds)', '0.5 (single seed)')
    """
    given = np.asarray(values, dtype=np.float64)
    count = len(given)
    if count == 0:
        raise InputError("no run to take a mean over")
    mean = float(given.mean())
    if count == 1:
        return OverSeeds(mean, None, None, 1)
    sd = float(given.std(ddof=1))
    half = float(student.ppf((1 + level) / 2, count - 1)) * sd / math.sqrt(count)
    return OverSeeds(mean, sd, (mean - half, mean + half), count)


def bootstrap_over_seeds(
    values: ArrayLike, clusters: Ints, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Floats:
    """Two-level bootstrap of the mean: seeds are resampled, and clusters of examples within.

    All seeds were measured on the same examples, so the seeds of a draw share its clusters: an unusual author is
    unusual for all of them, and must not average out over seeds.

    Args:
        values: (S, n) per-example values of each seed; NaN where excluded.
        clusters: (n,), from :func:`ofmu.evaluation.statistics.number_clusters`.
        rng: from :func:`ofmu.evaluation.statistics.generator`; the seeds are drawn first.
        resamples: B.

    Returns:
        (B,) draws, for :func:`ofmu.evaluation.statistics.interval`.
    """
    given = np.atleast_2d(np.asarray(values, dtype=np.float64))
    drawn = rng.integers(0, len(given), size=(resamples, len(given)))
    means = bootstrap_means(given, clusters, rng, resamples)  # (S, B)
    return means[drawn, np.arange(resamples)[:, None]].mean(axis=1)


def within_retrain_noise(difference: float, retrained: Sequence[float] | Floats) -> bool | None:
    """Whether a difference is smaller than the standard deviation between retrained models; then it is never bold.

    Args:
        difference: between two methods, or of one to the retrained mean.
        retrained: the same number of each retrained model.

    Returns:
        None with fewer than three retrained models: unknown.
    """
    if len(retrained) < MIN_SEEDS or not math.isfinite(difference):
        return None
    return abs(difference) < float(np.std(np.asarray(retrained, dtype=np.float64), ddof=1))
