"""KLoM: how far the distribution of margins over unlearned models is from that over retrained ones, point by point.

Legend: r_1 … r_N oracles (retrained without the forget set), u_1 … u_N unlearned models, x one of P points, φ its
margin (``phi.phi``), p and q the histograms of φ(x) over oracles and over unlearned models.

Source: METRICS.md §8 (KLoM), fault F17.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import rel_entr

from ofmu.evaluation import statistics
from ofmu.evaluation.statistics import Floats

Mode = Literal["correct", "parity:data_unlearning_bench"]

BINS = 20
CLIP = 100.0
FLOOR = 1e-5
QUANTILES = {"median": 0.5, "q95": 0.95, "q99": 0.99}


def klom(oracles: Floats, unlearned: Floats, *, bins: int = BINS, mode: Mode = "correct") -> Floats:
    """KLoM(x) = Σ_b p_b log(p_b/q_b) = KL(oracles ‖ unlearned) of each point.

    φ is clipped to ±100; equal bins over the range of both groups, the right edge closed; q floored at 1e-5 where p > 0
    and made to sum to one again. ``parity:data_unlearning_bench`` drops every sample equal to the pooled maximum, as
    the public code does (fault F17).

    Args:
        oracles: (N, P), φ of each point under each oracle.
        unlearned: (M, P). Compare only with values of the same N and M: the estimate is far above 0 for equal
            distributions, and more so the fewer the models (about .35 at 100, .88 at 50).
        bins: number of bins, ≥ 1.
        mode: ``correct`` or ``parity:data_unlearning_bench``.

    Returns:
        (P,), nats, ≥ 0, down; the floor is that of :func:`against_null`. NaN where a φ is NaN, and in parity where all
        samples of a group are dropped.

    >>> worked = np.array([[0.0], [0], [1], [1]]), np.array([[0.0], [1], [1], [1]])
    >>> klom(*worked, bins=2).round(4).tolist()
    [0.1438]
    >>> klom(*worked, bins=2, mode="parity:data_unlearning_bench").tolist()
    [0.0]
    """
    oracles, unlearned = _clipped(oracles), _clipped(unlearned)
    low = np.minimum(oracles.min(axis=0), unlearned.min(axis=0))
    high = np.maximum(oracles.max(axis=0), unlearned.max(axis=0))
    edges = np.linspace(low, high, bins + 1)  # (B + 1, P)
    p, q = (_shares(group, edges, closed=mode == "correct") for group in (oracles, unlearned))
    q = np.where(p > 0, np.maximum(q, FLOOR), q)
    with np.errstate(invalid="ignore", divide="ignore"):
        q = q / q.sum(axis=0)
        found = rel_entr(p, q).sum(axis=0)
    return np.where(np.isfinite(low + high), np.maximum(found, 0.0), np.nan)  # rounding may give −1e-17


def klom_normal(oracles: Floats, unlearned: Floats) -> Floats:
    """The robust twin: KL of two fitted normals, log(s_q/s_p) + (s_p² + (m_p − m_q)²)/(2 s_q²) − ½.

    Smooth, without bins, and usable with few models. Means and unbiased variances of φ clipped to ±100.

    Args:
        oracles: (N, P), N ≥ 2.
        unlearned: (M, P), M ≥ 2.

    Returns:
        (P,), nats, ≥ 0, down. 0 where both groups are one and the same constant, infinite where just one is constant or
        the constants differ.

    >>> klom_normal(np.array([[0.0], [2]]), np.array([[1.0], [3]])).tolist()
    [0.25]
    """
    oracles, unlearned = _clipped(oracles), _clipped(unlearned)
    m_p, m_q = oracles.mean(axis=0), unlearned.mean(axis=0)
    v_p, v_q = oracles.var(axis=0, ddof=1), unlearned.var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 0.5 * (np.log(v_q / v_p) + (v_p + (m_p - m_q) ** 2) / v_q - 1)
    constant = (v_p == 0) | (v_q == 0)
    alike = (v_p == 0) & (v_q == 0) & (m_p == m_q)
    return np.where(alike, 0.0, np.where(constant, np.inf, found))


def summary(values: Floats) -> dict[str, float]:
    """Mean, median and the quantiles 95 % and 99 % over points; NaN as soon as one value is not finite."""
    if not np.isfinite(values).all() or not len(values):
        return dict.fromkeys(("mean", *QUANTILES), float("nan"))
    quantiles = {name: float(np.quantile(values, level)) for name, level in QUANTILES.items()}
    return {"mean": float(values.mean()), **quantiles}


@dataclass(frozen=True, eq=False)
class AgainstNull:
    """KLoM of the unlearned models beside that of further oracles, at the same number of models.

    Args:
        models: N, in each of the three groups.
        klom: (P,), first half of the oracles ‖ unlearned models.
        null: (P,), first half of the oracles ‖ second half.
        normal: (P,), the robust twin of ``klom``.
        normal_null: (P,), that of ``null``.
        interval: 95 % of the mean excess klom − null, clusters of points resampled, the models as they are; None for
            fewer than eight clusters or values that are not finite.
    """

    models: int
    klom: Floats
    null: Floats
    normal: Floats
    normal_null: Floats
    interval: tuple[float, float] | None

    def as_dict(self) -> dict[str, Any]:
        """Summaries of each, and of the excess: summary of klom − summary of null, about 0 for retrained models."""
        found: dict[str, Any] = {"models": self.models, "points": len(self.klom)}
        for name, own, null in (("klom", self.klom, self.null), ("normal", self.normal, self.normal_null)):
            value, floor = summary(own), summary(null)
            found[name] = value
            found[f"{name}_null"] = floor
            found[f"{name}_excess"] = {key: value[key] - floor[key] for key in value}
        return found | {"klom_excess_interval": self.interval}


def against_null(
    oracles: Floats, unlearned: Floats, clusters: Sequence[str] | None = None, *, bins: int = BINS
) -> AgainstNull:
    """KLoM and its null: two disjoint halves of the oracles, at equal N.

    N = min(half of the oracles, unlearned models); the first N of each group are taken.

    Args:
        oracles: (≥ 4, P), φ of each point under each oracle, in an order that means nothing.
        unlearned: (≥ 2, P).
        clusters: the cluster of each point, for the interval; None: each its own.
        bins: see :func:`klom`.

    Raises:
        ValueError: fewer than 4 oracles or 2 unlearned models, or other points.
    """
    count = min(len(oracles) // 2, len(unlearned))
    if count < 2 or oracles.shape[1:] != unlearned.shape[1:]:
        raise ValueError(
            f"oracles are {oracles.shape} and unlearned {unlearned.shape} (models, points): the same points, "
            "at least 4 oracles and 2 unlearned models"
        )
    first, second, own = oracles[:count], oracles[count : 2 * count], unlearned[:count]
    value, null = klom(first, own, bins=bins), klom(first, second, bins=bins)
    return AgainstNull(
        models=count,
        klom=value,
        null=null,
        normal=klom_normal(first, own),
        normal_null=klom_normal(first, second),
        interval=_interval(value - null, clusters),
    )


def _clipped(phi: Floats) -> Floats:
    return np.clip(np.asarray(phi, dtype=np.float64), -CLIP, CLIP)


def _shares(phi: Floats, edges: Floats, *, closed: bool) -> Floats:
    """Share of a group's models in each bin: (N, P) → (B, P)."""
    bins = len(edges) - 1
    place = np.zeros(phi.shape, dtype=np.int64)
    for edge in edges[1:-1]:  # inner edges only: the maximum falls into the last bin
        place += phi >= edge
    kept = np.ones(phi.shape, dtype=bool) if closed else phi != edges[-1]
    counts = np.stack([((place == number) & kept).sum(axis=0) for number in range(bins)])
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(axis=0)


def _interval(excess: Floats, clusters: Sequence[str] | None) -> tuple[float, float] | None:
    numbers = np.arange(len(excess)) if clusters is None else statistics.number_clusters(clusters)
    if not np.isfinite(excess).all() or len(np.unique(numbers)) < statistics.MIN_CLUSTERS:
        return None
    draws = statistics.bootstrap_means(excess[None], numbers, statistics.generator("klom", str(len(excess))))
    return statistics.interval(draws[0])
