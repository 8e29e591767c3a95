"""Statistics whose unit is the cluster: the author, the document, the image; never one example of a group.

Legend: n examples in K clusters, M models measured on the same examples, B bootstrap resamples. NaN in an
array of values marks an example that is excluded for that model.

Source: METRICS.md §10 (bootstrap, permutation) and §4 (AUC by mid-ranks, TPR at a low FPR).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 10_000
MIN_CLUSTERS = 8
_BLOCK = 1 << 18  # values held at a time while resampling: 2 MB of float64 stay in the processor's cache


def generator(*names: str) -> np.random.Generator:
    """A Philox generator whose seed is a hash of names, such as a metric and the fingerprint of its data.

    The same names give the same draws on every machine and in every process.
    """
    digest = hashlib.blake2b("\n".join(names).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest, "little")))


def number_clusters(clusters: Sequence[str]) -> Ints:
    """Clusters as numbers 0 … K-1 in order of first appearance: (n,)."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in clusters], dtype=np.int64)


def auc(members: Floats, non_members: Floats) -> float:
    """P(a_h > a_f) + ½ P(a_h = a_f) by mid-ranks; NaN if a side is empty.

    Args:
        members: attack scores a_f of the forget set; high means "unlikely to have been trained on".
        non_members: attack scores a_h of the holdout.

    Returns:
        A value in [0, 1]: 1 if the forget set still looks trained-on throughout.

    >>> round(auc(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 5.0])), 4)
    0.8333
    """
    n_f, n_h = len(members), len(non_members)
    if n_f == 0 or n_h == 0:
        return float("nan")
    ranks = rankdata(np.concatenate([members, non_members]))
    return float((ranks[n_f:].sum() - n_h * (n_h + 1) / 2) / (n_f * n_h))


def tpr_at_fpr(members: Floats, non_members: Floats, fpr: float) -> float:
    """The largest true-positive rate whose false-positive rate does not exceed ``fpr``; NaN if |D_h| < 1/fpr.

    An example is called a member when its score is at or below a threshold.

    Args:
        members: attack scores of the forget set (high: unlikely member).
        non_members: attack scores of the holdout.
        fpr: in (0, 1], e.g. .01.
    """
    allowed = int(np.floor(fpr * len(non_members) + 1e-9))
    if allowed < 1 or len(members) == 0:
        return float("nan")
    if allowed >= len(non_members):
        return 1.0
    return float(np.mean(members < np.sort(non_members)[allowed]))


def interval(draws: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of bootstrap draws; None if a draw is not finite."""
    if not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_means(values: Floats, clusters: Ints, rng: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """Bootstrap draws of the mean over examples, whole clusters resampled, the same draw for all M models.

    Args:
        values: (M, n), NaN where an example is excluded.
        clusters: (n,), from :func:`number_clusters`.
        rng: from :func:`generator`.
        resamples: B.

    Returns:
        (M, B); NaN where a draw holds no example of a model.
    """
    kept = np.isfinite(values)
    sums = _by_cluster(np.where(kept, values, 0.0), clusters)
    counts = _by_cluster(kept.astype(np.float64), clusters)
    blocks = []
    for weights in cluster_weights(counts.shape[1], rng, resamples, counts.shape[1]):
        with np.errstate(invalid="ignore"):
            blocks.append((sums @ weights.T) / (counts @ weights.T))
    return np.concatenate(blocks, axis=1)


def bootstrap_aucs(
    members: Floats,
    member_clusters: Ints,
    non_members: Floats,
    non_member_clusters: Ints,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Floats:
    """Bootstrap draws of the AUC: clusters of the two sides resampled independently, alike for all M models.

    Args:
        members: (M, n_f) attack scores of the forget set, NaN where excluded.
        member_clusters: (n_f,).
        non_members: (M, n_h) attack scores of the holdout, NaN where excluded.
        non_member_clusters: (n_h,).
        rng: from :func:`generator`; the forget side's draws come from it first.
        resamples: B.

    Returns:
        (M, B); NaN where a draw leaves a side empty.
    """
    k_f, k_h = int(member_clusters.max()) + 1, int(non_member_clusters.max()) + 1
    width = max(members.shape[1], non_members.shape[1], k_f, k_h)
    first, second = (np.random.Generator(np.random.Philox(int(seed))) for seed in rng.integers(0, 2**63, size=2))
    pairs = [_Ranked.of(*side) for side in _sides(members, member_clusters, non_members, non_member_clusters)]
    draws = zip(
        cluster_weights(k_f, first, resamples, width),
        cluster_weights(k_h, second, resamples, width),
    )
    blocks = [np.stack([ranked.auc(w_f, w_h) for ranked in pairs]) for w_f, w_h in draws]
    return np.concatenate(blocks, axis=1)


def sign_flip(differences: Floats, rng: np.random.Generator) -> float:
    """Two-sided p-value of "the mean difference is zero" by flipping the signs of cluster means.

    All 2^K sign patterns up to 2^14; else 10,000 random ones with p = (1 + #)/(1 + 10,000).

    Args:
        differences: (K,), a mean difference for each cluster.
        rng: from :func:`generator`.

    >>> sign_flip(np.array([0.2, 0.1, -0.05, 0.3]), generator("doctest"))
    0.25
    """
    count = len(differences)
    if count == 0:
        return float("nan")
    # sums that differ by rounding only are equal: a pattern and its mirror image must both count
    observed = abs(differences.sum()) * (1 - 1e-12) - 1e-300
    if count <= 14:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
        return float(np.mean(np.abs(signs @ differences) >= observed))
    signs = rng.integers(0, 2, size=(RESAMPLES, count)) * 2.0 - 1.0
    return float((1 + np.sum(np.abs(signs @ differences) >= observed)) / (1 + RESAMPLES))


def _by_cluster(values: Floats, clusters: Ints) -> Floats:
    """Σ over the examples of each cluster: (M, n) → (M, K)."""
    count = int(clusters.max()) + 1
    return np.stack([np.bincount(clusters, weights=row, minlength=count) for row in values]).astype(np.float64)


def cluster_weights(count: int, rng: np.random.Generator, resamples: int, width: int) -> Iterator[Floats]:
    """How often each of K clusters is drawn: blocks (b, K), B rows in all; b·width values fit in memory."""
    block = max(1, min(resamples, _BLOCK // max(width, 1)))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, count, size=(rows, count)) + np.arange(rows)[:, None] * count
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def _sides(
    members: Floats, member_clusters: Ints, non_members: Floats, non_member_clusters: Ints
) -> Iterator[tuple[Floats, Ints, Floats, Ints]]:
    """For each model its scores and their clusters on both sides, excluded examples taken out."""
    for a_f, a_h in zip(members, non_members):
        kept_f, kept_h = np.isfinite(a_f), np.isfinite(a_h)
        yield a_f[kept_f], member_clusters[kept_f], a_h[kept_h], non_member_clusters[kept_h]


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Both sides of an attack in order of their scores: what is the same in every resample.

    Args:
        clusters_f: cluster of each member in order of a_f: (n_f,).
        clusters_h: cluster of each non-member in order of a_h: (n_h,).
        starts: where in that order a new pair (left, right) begins: (G,).
        left: members with a_f below each group of non-members: (G,).
        right: members with a_f below or equal: (G,).
    """

    clusters_f: Ints
    clusters_h: Ints
    starts: Ints
    left: Ints
    right: Ints

    @classmethod
    def of(cls, a_f: Floats, clusters_f: Ints, a_h: Floats, clusters_h: Ints) -> _Ranked:
        order_f, order_h = np.argsort(a_f, kind="stable"), np.argsort(a_h, kind="stable")
        left = np.searchsorted(a_f[order_f], a_h[order_h], side="left")
        right = np.searchsorted(a_f[order_f], a_h[order_h], side="right")
        changed = np.ones(len(left), dtype=bool)
        changed[1:] = (np.diff(left) != 0) | (np.diff(right) != 0)
        starts = np.flatnonzero(changed)
        return cls(clusters_f[order_f], clusters_h[order_h], starts, left[starts], right[starts])

    def auc(self, weights_f: Floats, weights_h: Floats) -> Floats:
        """Σ_h w_h (W(a_f < a_h) + ½ W(a_f = a_h)) / (Σ w_f · Σ w_h) for cluster weights (b, K_f), (b, K_h)."""
        below = np.zeros((len(weights_f), len(self.clusters_f) + 1))
        np.cumsum(np.take(weights_f, self.clusters_f, axis=1), axis=1, out=below[:, 1:])
        grouped = np.add.reduceat(np.take(weights_h, self.clusters_h, axis=1), self.starts, axis=1)  # (b, G)
        won = np.einsum("bg,bg->b", grouped, np.take(below, self.left, axis=1))
        if (self.left != self.right).any():
            won = 0.5 * (won + np.einsum("bg,bg->b", grouped, np.take(below, self.right, axis=1)))
        with np.errstate(invalid="ignore"):
            return won / (below[:, -1] * grouped.sum(axis=1))
