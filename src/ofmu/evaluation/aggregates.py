"""The public aggregate scores: harmonic means. Print their parts; they never are headlines.

A lower forget score is not a better one: 18 of 75 real unlearned models exceed the retrained model on ``memorization``.

Source: METRICS.md §3.2, §7.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ofmu.errors import InputError, unknown

UTILITY_PARTS = tuple(
    f"{name}_{part}"
    for name in ("retain", "real_authors", "world_facts")
    for part in ("probability", "rougeL_recall", "truth_ratio")
)


def harmonic_mean(values: Iterable[float]) -> float:
    """Of n values, n / Σ 1/x; any NaN → NaN, else any 0 → 0.

    Args:
        values: none of them negative; at least one.

    Raises:
        InputError: a negative value: its harmonic mean says nothing.

    >>> round(harmonic_mean([0.99, 0.98, 0.47, 0.43, 0.92, 0.57, 0.41, 0.90, 0.54]), 4)
    0.6111
    """
    given = [float(value) for value in values]
    if not given or any(math.isnan(value) for value in given):
        return math.nan
    if min(given) < 0:
        raise InputError(f"a harmonic mean needs values of at least 0, found {min(given):g}")
    return 0.0 if min(given) == 0 else len(given) / math.fsum(1 / value for value in given)


def model_utility(parts: Mapping[str, float]) -> float:
    """Harmonic mean of nine: {retain, real_authors, world_facts} × {probability, rougeL_recall, truth_ratio}.

    The probability is plain on retain and normalised on the other two; the truth ratio is max(0, 1 − TR). Up, but
    compare with retrained and original model, and print the nine.

    Args:
        parts: by the names in ``UTILITY_PARTS``; one that is missing makes it NaN.

    Raises:
        InputError: a name that is none of the nine.
    """
    for name in parts:
        if name not in UTILITY_PARTS:
            raise unknown("part of model utility", name, UTILITY_PARTS)
    return harmonic_mean(parts.get(name, math.nan) for name in UTILITY_PARTS)


def memorization(
    extraction_strength: float, exact_memorization: float, paraphrase_probability: float, knowledge: float
) -> float:
    """HM(1 − ES, 1 − EM, 1 − P_para, 1 − knowledge) in [0, 1]; public direction up, which favours over-forgetting."""
    parts = (extraction_strength, exact_memorization, paraphrase_probability, knowledge)
    return harmonic_mean(1 - part for part in parts)


def auc_similarity(unlearned: float, retrained: float) -> float:
    """The similarity s = 1 − |A_u − A_r| / max(A_r, 1 − A_r), in [0, 1] without clipping: 1 if the AUCs are equal; up.

    >>> [round(auc_similarity(a, 0.3874), 3) for a in (0.9965, 0.5, 0.3874, 0.0)]
    [0.006, 0.816, 1.0, 0.368]
    """
    return 1 - abs(unlearned - retrained) / max(retrained, 1 - retrained)


def auc_similarity_public(unlearned: float, retrained: float) -> float:
    """Its form clip(1 − |A_u − A_r| / A_r, 0, 1), a re-implementer's; the authors' own was never published."""
    if math.isnan(unlearned) or math.isnan(retrained) or retrained == 0:
        return math.nan
    return min(max(1 - abs(unlearned - retrained) / retrained, 0.0), 1.0)


def privacy(similarities: Iterable[float]) -> float:
    """HM of s over mia_loss, mia_zlib, mia_min_k and mia_min_k_plus_plus; up."""
    return harmonic_mean(similarities)


def utility(model_utility: float, fluency: float) -> float:
    """HM(model utility, fluency); up."""
    return harmonic_mean((model_utility, fluency))


def overall(memorization: float, privacy: float, utility: float) -> float:
    """HM of the three; up. It merges what should be looked at apart."""
    return harmonic_mean((memorization, privacy, utility))
