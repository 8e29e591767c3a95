"""Membership attack scores of one text: high where it looks *unseen*, like a loss.

Legend: log p_t of the scored tokens S⁻, T of them; λ and L mean and sum of −log p over S, nats; A_u and A_r the AUC of
an attack on the unlearned and the retrained model.

Source: METRICS.md §4; Shi et al., 2023 (min-k); Zhang et al., 2024 (min-k++); Carlini et al., 2021 (zlib).
"""

from __future__ import annotations

import math
import zlib as compression
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ofmu.errors import unknown
from ofmu.evaluation.statistics import Floats

K = 0.4
VARIANCE_FLOOR = 1e-6
EPSILON = 1e-10  # in the public code
MUSE_RETRAINED = {"news": 0.4772, "books": 0.5393}  # 1 − AUC of min-40 % of MUSE's own retrained models


def min_k(log_probabilities: ArrayLike, k: float = K) -> float:
    """−mean of the m lowest log p_t, m = max(1, ⌊k·T⌋); NaN for an empty S⁻, which is to be excluded.

    >>> min_k([-0.1, -2.0, -0.5, -3.0, -0.2])
    2.5
    """
    return _lowest(log_probabilities, lambda count: max(1, int(k * count)))


def min_k_plus_plus(z: ArrayLike, k: float = K) -> float:
    """:func:`min_k` of z_t = (log p_t − μ_t)/σ_t; see :func:`standardised`."""
    return min_k(z, k)


def standardised(log_probabilities: ArrayLike, targets: ArrayLike) -> Floats:
    """z_t = (log p_t − μ_t)/σ_t with μ_t = Σ_v p log p and σ_t² = Σ_v p (log p)² − μ_t².

    Args:
        log_probabilities: (T, V) over the vocabulary; −∞ adds 0.
        targets: (T,) the true tokens.

    Returns:
        (T,); the variance is floored at 1e-6.
    """
    log_p = np.asarray(log_probabilities, dtype=np.float64)
    finite = np.where(np.isneginf(log_p), 0.0, log_p)
    p = np.exp(log_p)
    mean = (p * finite).sum(axis=-1)
    variance = np.maximum((p * finite**2).sum(axis=-1) - mean**2, VARIANCE_FLOOR)
    true = np.take_along_axis(log_p, np.asarray(targets)[:, None], axis=-1)[:, 0]
    return (true - mean) / np.sqrt(variance)


def zlib_bytes(answer: str) -> int:
    """Length of the answer's UTF-8 bytes after zlib at its default level."""
    return len(compression.compress(answer.encode()))


def zlib(mean_loss: ArrayLike, compressed_bytes: ArrayLike) -> Floats:
    """λ / bytes: the public form, where a longer text looks like a member."""
    return np.asarray(mean_loss, dtype=np.float64) / np.asarray(compressed_bytes, dtype=np.float64)


def zlib_total(summed_loss: ArrayLike, compressed_bytes: ArrayLike) -> Floats:
    """L / (ln 2 · 8 · bytes): the model's code length over zlib's, both in bits."""
    return np.asarray(summed_loss, dtype=np.float64) / (
        math.log(2) * 8 * np.asarray(compressed_bytes, dtype=np.float64)
    )


def privleak(unlearned: float, retrained: float | None) -> float:
    """100 · ((1 − A_u) − (1 − A_r))/(1 − A_r), A = AUC of mia_min_k.

    Args:
        unlearned: A_u.
        retrained: A_r; without it there is nothing to leak relative to.

    Returns:
        In [−100, 100·A_r/(1 − A_r)]: −100 leaks as much as possible, 0 as retrained, above 0 over-forgotten. NaN
        without A_r, or with A_r = 1.

    >>> round(privleak(0.9, 0.4), 2), privleak(0.9, None)
    (-83.33, nan)
    """
    if retrained is None or retrained == 1:
        return math.nan
    return 100 * (retrained - unlearned) / (1 - retrained)


def privleak_open_unlearning(unlearned: float, retrained: float | None) -> float:
    """``parity:open_unlearning``: A_r := ½ where there are no retrained logs, and 1e-10 in the denominator."""
    reference = 1 - (0.5 if retrained is None else retrained)
    return 100 * ((1 - unlearned) - reference) / (reference + EPSILON)


def privleak_muse(unlearned: float, corpus: str) -> float:
    """``parity:muse``: 100 · (A′_u − A′_r)/A′_r with A′ = 1 − A and A′_r of the authors' own retrained models.

    Args:
        unlearned: A_u.
        corpus: ``"news"`` or ``"books"``.

    Raises:
        InputError: another corpus.
    """
    if corpus not in MUSE_RETRAINED:
        raise unknown("MUSE corpus", corpus, MUSE_RETRAINED)
    reference = MUSE_RETRAINED[corpus]
    return 100 * ((1 - unlearned) - reference) / reference


def min_k_open_unlearning(log_probabilities: ArrayLike, k: float = K) -> float:
    """``parity:open_unlearning``: as :func:`min_k`, but an empty S⁻ is 0, which makes it the surest member."""
    return min_k(log_probabilities, k) if np.size(log_probabilities) else 0.0


def min_k_muse(log_probabilities: ArrayLike, k: float = K) -> float:
    """``parity:muse``: m = ⌊k·T⌋ without a floor of 1: NaN for short texts."""
    return _lowest(log_probabilities, lambda count: int(k * count))


def _lowest(values: ArrayLike, how_many: Callable[[int], int]) -> float:
    given = np.asarray(values, dtype=np.float64)
    m = how_many(len(given)) if len(given) else 0
    return 0.0 - float(np.partition(given, m - 1)[:m].mean()) if m else math.nan
