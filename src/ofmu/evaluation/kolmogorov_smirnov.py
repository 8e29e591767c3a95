"""The two-sample Kolmogorov–Smirnov test, with a p-value that stays right where it underflows.

Legend: n and m values on the two sides, D the largest difference of their empirical distribution functions,
h = D·n·m, an integer. Under the null hypothesis every order of the n + m values is equally likely; p is the share of
orders, drawn as lattice paths from (0, 0) to (n, m), that touch a point (i, j) with |i·m − j·n| ≥ h.

Source: J. L. Hodges, "The significance probability of the Smirnov two-sample test", 1958; METRICS.md §3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import kolmogorov

from ofmu.errors import InputError
from ofmu.evaluation.statistics import Floats

EXACT_UP_TO = 10_000
_SAFE = 1e-280  # above this no part of the recursion that counts has underflowed


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """What the test says.

    Args:
        statistic: D in [0, 1].
        pvalue: in [0, 1]; 0 where it is below 1e-308.
        log10_pvalue: its logarithm, right in any case.
    """

    statistic: float
    pvalue: float
    log10_pvalue: float


def kolmogorov_smirnov(first: ArrayLike, second: ArrayLike) -> KolmogorovSmirnov:
    """Do two samples come from one distribution? Two-sided; exact up to 10,000 values a side, beyond that asymptotic.

    Args:
        first: (n,) values.
        second: (m,) values. Monotone maps of both change nothing.

    Raises:
        InputError: a side is empty or holds NaN.

    >>> found = kolmogorov_smirnov([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    >>> found.statistic, round(found.pvalue, 12)
    (1.0, 0.1)
    """
    a, b = (np.asarray(side, dtype=np.float64) for side in (first, second))
    if len(a) == 0 or len(b) == 0 or np.isnan(a).any() or np.isnan(b).any():
        raise InputError("the Kolmogorov–Smirnov test needs values on both sides, none of them NaN")
    h = _largest_difference(a, b)
    log_p = min(_log_p(len(a), len(b), h), 0.0)
    return KolmogorovSmirnov(h / (len(a) * len(b)), math.exp(log_p), log_p / math.log(10))


def _largest_difference(a: Floats, b: Floats) -> int:
    """D · n · m in integers, so that equal differences are equal."""
    points = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(side), points, side="right").astype(np.int64) for side in (a, b)]
    return int(np.abs(below[0] * len(b) - below[1] * len(a)).max())


def _log_p(n: int, m: int, h: int) -> float:
    if h == 0:
        return 0.0
    if max(n, m) > EXACT_UP_TO:
        return _log_p_asymptotic(math.sqrt(n * m / (n + m)) * h / (n * m))
    if n == m:
        return _log_p_equal(n, h // n)
    linear = _share_touching(n, m, h)
    return math.log(linear) if linear > _SAFE else _log_share_touching(n, m, h)


def _log_p_equal(n: int, steps: int) -> float:
    """For n = m by reflection: p = 2 Σ_{i≥1} (−1)^{i−1} C(2n, n − i·steps)/C(2n, n)."""
    j = np.arange(n, dtype=np.float64)
    log_ratio = np.concatenate([[0.0], np.cumsum(np.log((n - j) / (n + j + 1)))])  # of C(2n, n − s) to C(2n, n)
    terms = log_ratio[steps::steps]
    signs = np.where(np.arange(len(terms)) % 2 == 0, 1.0, -1.0)
    return math.log(2) + float(terms[0]) + math.log(float(np.sum(signs * np.exp(terms - terms[0]))))


def _share_touching(n: int, m: int, h: int) -> float:
    """Share of paths to (n, m) that touch the outside: a mixture over the last step, nothing ever subtracted.

    P(i, j) = (i·P(i−1, j) + j·P(i, j−1))/(i + j), and 1 outside; one diagonal i + j = s at a time.
    """
    i = np.arange(n + 1, dtype=np.float64)
    share = np.zeros(n + 1)
    for s in range(1, n + m + 1):
        left, j = np.concatenate([[0.0], share[:-1]]), s - i
        share = (i * left + j * share) / s
        share[(np.abs(i * m - j * n) >= h) & (j >= 0) & (j <= m)] = 1.0
        share[(j < 0) | (j > m)] = 0.0
    return float(share[n])


def _log_share_touching(n: int, m: int, h: int) -> float:
    """:func:`_share_touching` in logarithms, for shares too small for a float."""
    i = np.arange(n + 1, dtype=np.float64)
    share = np.full(n + 1, -np.inf)
    with np.errstate(divide="ignore"):
        log_i, logs = np.log(i), np.log(np.arange(n + m + 1, dtype=np.float64))
    for s in range(1, n + m + 1):
        left, j = np.concatenate([[-np.inf], share[:-1]]), s - i
        inside = (j >= 0) & (j <= m)
        log_j = logs[np.where(inside, j, 0).astype(np.int64)]
        share = np.logaddexp(log_i + left, log_j + share) - logs[s]
        share[inside & (np.abs(i * m - j * n) >= h)] = 0.0
        share[~inside] = -np.inf
    return float(share[n])


def _log_p_asymptotic(t: float) -> float:
    """Kolmogorov's limit 2 Σ (−1)^{i−1} exp(−2 i² t²); its first term alone where it underflows."""
    p = float(kolmogorov(t))
    return math.log(p) if p > _SAFE else math.log(2) - 2 * t * t
