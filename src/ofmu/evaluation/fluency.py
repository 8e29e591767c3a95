"""Fluency: guards against gibberish that scores as "forgotten".

Source: METRICS.md §2.9.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

N = 4


def rep4(tokens: Sequence[Hashable]) -> float:
    """1 − distinct / total 4-grams of a generation; down is better.

    Args:
        tokens: generated tokens or words, end marks taken out.

    Returns:
        In [0, 1): 0 if no four tokens come twice; NaN for fewer than four tokens, where there is nothing to repeat.

    >>> rep4("a b c d a b c d".split())
    0.19999999999999996
    """
    total = len(tokens) - N + 1
    if total < 1:
        return float("nan")
    distinct = {tuple(tokens[start : start + N]) for start in range(total)}
    return 1 - len(distinct) / total


def is_empty(generation: str) -> bool:
    """Whether nothing but white space was generated."""
    return not generation.strip()


def empty_share(generations: Sequence[str]) -> float:
    """Share of generations that are empty, in [0, 1]; NaN for none at all.

    >>> empty_share(["Paris.", "  ", ""])
    0.6666666666666666
    """
    if not generations:
        return float("nan")
    return sum(map(is_empty, generations)) / len(generations)
