"""U-LiRA: per example, was it trained on and unlearned, or never seen? Judged against shadow models of both kinds.

Legend: φ as in ``phi.phi``, K models, n examples; arm 1: trained with the example, which was then unlearned; arm 0:
trained without it, and then the same unlearning of as many others; Λ the log likelihood ratio of the arms.

Source: METRICS.md §8 (U-LiRA), faults F20; the per-example Gaussian attack of Hayes et al. 2024 (arXiv 2403.01218).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofmu.evaluation import statistics
from ofmu.evaluation.statistics import Floats

OUTSIDE = -1
"""In an array of arms: the example belongs to neither arm of this model."""
ENOUGH = 16
"""Values of an arm from which on an example has a variance of its own."""
FPRS = (0.01, 0.001)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

Arms = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Normals:
    """N(μ_1, s_1²) and N(μ_0, s_0²) of φ for each of n examples; NaN where an arm has no values."""

    mean_1: Floats
    sd_1: Floats
    mean_0: Floats
    sd_0: Floats


def fit(phi: Floats, arm: Arms) -> Normals:
    """A normal for each example and arm: its own variance if the arm has 16 values or more, else a pooled one.

    Pooled over examples: Σ_z Σ_k (φ − μ_z)² / Σ_z (m_z − 1) over all examples z with m_z values.

    Args:
        phi: (K, n), nats.
        arm: (K, n), 1, 0 or :data:`OUTSIDE`.
    """
    return Normals(*_fit_arm(phi, arm == 1), *_fit_arm(phi, arm == 0))


def log_ratio(phi: Floats, normals: Normals) -> Floats:
    """Λ = log N(φ; μ_1, s_1) − log N(φ; μ_0, s_0), in logs throughout: it never divides 0 by 0.

    Args:
        phi: (…, n), of models that the normals were not fitted on.
        normals: of the same n examples.

    Returns:
        (…, n), nats; > 0: rather trained on and unlearned. NaN where a normal is missing or has no width.

    >>> one = np.ones(1)
    >>> log_ratio(np.array([2.0]), Normals(2.5 * one, one, 0.5 * one, one)).tolist()
    [1.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z_1, z_0 = (phi - normals.mean_1) / normals.sd_1, (phi - normals.mean_0) / normals.sd_0
        found = np.log(normals.sd_0) - np.log(normals.sd_1) + 0.5 * (z_0 - z_1) * (z_0 + z_1)
    return np.where((normals.sd_1 > 0) & (normals.sd_0 > 0), found, np.nan)


def crossfit(phi: Floats, arm: Arms, folds: Sequence[int]) -> Floats:
    """Λ of each model under normals fitted on the models of the other folds: every model serves as a fresh target.

    A fold should hold each example equally often in both arms, as complementary pairs do. With single models as folds
    the own arm has always one value less, and a harmless model looks worse than a coin.

    Args:
        phi: (K, n).
        arm: (K, n).
        folds: the fold of each model.

    Returns:
        (K, n), NaN where the example is in neither arm.
    """
    numbers = np.asarray(folds)
    found = np.full(phi.shape, np.nan)
    for number in np.unique(numbers):
        own = numbers == number
        found[own] = log_ratio(phi[own], fit(phi[~own], arm[~own]))
    return np.where(arm == OUTSIDE, np.nan, found)


@dataclass(frozen=True, eq=False)
class Attacked:
    """What the attack finds out about fresh models whose truth is known.

    Args:
        balanced_accuracy: ½ (share of arm 1 with Λ > 0 + share of arm 0 without); .5 for exact unlearning.
        interval: 95 %, clusters of examples resampled, the models as they are; None for fewer than eight clusters.
        spread: standard error over folds of models, the other source of chance; NaN for a single fold.
        auc: P(Λ of arm 1 > Λ of arm 0) over all models and examples.
        tpr: FPR → true-positive rate there; NaN where arm 0 has too few values for that FPR.
        per_example: (n,), balanced accuracy on each example alone.
        undefined: ids (positions if none were given) of examples without a Λ in both arms; they do not count.
        values: number of Λ.
    """

    balanced_accuracy: float
    interval: tuple[float, float] | None
    spread: float
    auc: float
    tpr: Mapping[float, float]
    per_example: Floats
    undefined: tuple[str, ...]
    values: int

    @property
    def advantage(self) -> float:
        """2 |accuracy − ½|, in [0, 1]: what enters the privacy gap."""
        return 2 * abs(self.balanced_accuracy - 0.5)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the quantiles over examples show the exposed few, which the average hides."""
        kept = self.per_example[np.isfinite(self.per_example)]
        return {
            "balanced_accuracy": self.balanced_accuracy,
            "interval": self.interval,
            "spread_over_models": self.spread,
            "auc": self.auc,
            "tpr_at_fpr": {f"{fpr:g}": value for fpr, value in self.tpr.items()},
            "example_quantiles": {f"{level:g}": float(np.quantile(kept, level)) for level in QUANTILES}
            if len(kept)
            else {},
            "examples": len(self.per_example),
            "undefined": list(self.undefined),
            "values": self.values,
        }


def attack(
    ratios: Floats,
    arm: Arms,
    folds: Sequence[int],
    *,
    ids: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
) -> Attacked:
    """Guess "trained on and unlearned" where Λ > 0, and say how often that is right.

    Args:
        ratios: (T, n), Λ of target models; NaN: does not count.
        arm: (T, n), the truth.
        folds: (T,), which models belong together.
        ids: the examples' ids.
        clusters: the cluster of each example; None: each its own.

    Source: METRICS.md §8.
    """
    sides = [np.isfinite(ratios) & (arm == side) for side in (1, 0)]
    both = sides[0].any(axis=0) & sides[1].any(axis=0)
    ratios = np.where(both, ratios, np.nan)  # an example with one arm only does not count at all
    known = np.isfinite(ratios)
    counts = np.stack([(known & (arm == side)).sum(axis=0) for side in (1, 0)]).astype(np.float64)  # (2, n)
    right = np.stack(
        [(known & (arm == 1) & (ratios > 0)).sum(axis=0), (known & (arm == 0) & (ratios <= 0)).sum(axis=0)]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        per_example = np.where(both, (right / counts).mean(axis=0), np.nan)
        overall = float((right.sum(axis=1) / counts.sum(axis=1)).mean())
    members, others = -ratios[known & (arm == 1)], -ratios[known & (arm == 0)]  # a score is high for the unseen
    names = [str(number) for number in range(len(both))] if ids is None else list(ids)
    return Attacked(
        balanced_accuracy=overall,
        interval=_interval(right, counts, names if clusters is None else clusters),
        spread=_spread(ratios, arm, np.asarray(folds)),
        auc=statistics.auc(members, others),
        tpr={fpr: statistics.tpr_at_fpr(members, others, fpr) for fpr in FPRS},
        per_example=per_example,
        undefined=tuple(name for name, fine in zip(names, both) if not fine),
        values=int(known.sum()),
    )


def _fit_arm(phi: Floats, chosen: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """(mean, sd) of φ over the chosen models of each example: (n,), (n,)."""
    count = chosen.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(chosen, phi, 0.0).sum(axis=0) / count
        squares = np.where(chosen, (phi - mean) ** 2, 0.0).sum(axis=0)
        known = np.isfinite(squares)
        pooled = squares[known].sum() / np.maximum(count[known] - 1, 0).sum()
        own = squares / (count - 1)
    return mean, np.sqrt(np.where(count >= ENOUGH, own, pooled))


def _interval(right: NDArray[np.int64], counts: Floats, clusters: Sequence[str]) -> tuple[float, float] | None:
    """Clusters of examples resampled, the same draw for both arms' hits and counts."""
    numbers = statistics.number_clusters(clusters)
    if len(np.unique(numbers)) < statistics.MIN_CLUSTERS:
        return None
    rng = statistics.generator("u_lira", str(len(numbers)))
    draws = statistics.bootstrap_means(np.concatenate([right, counts]).astype(np.float64), numbers, rng)
    with np.errstate(invalid="ignore", divide="ignore"):
        return statistics.interval((draws[:2] / draws[2:]).mean(axis=0))


def _spread(ratios: Floats, arm: Arms, folds: NDArray[Any]) -> float:
    """SD over folds of the balanced accuracy, over √folds."""
    found = []
    for number in np.unique(folds):
        own, truth = ratios[folds == number], arm[folds == number]
        sides = [np.isfinite(own) & (truth == side) for side in (1, 0)]
        if all(side.any() for side in sides):
            found.append(0.5 * ((own[sides[0]] > 0).mean() + (own[sides[1]] <= 0).mean()))
    return float(np.std(found, ddof=1) / np.sqrt(len(found))) if len(found) > 1 else float("nan")
