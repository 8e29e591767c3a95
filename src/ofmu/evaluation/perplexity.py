"""Perplexity of texts, and the windows that long texts are read in.

Legend: L and T are a document's summed loss (nats) and number of scored tokens, λ = L/T.

Source: METRICS.md §2.8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ofmu.errors import InputError
from ofmu.evaluation.statistics import Floats


@dataclass(frozen=True)
class Perplexity:
    """Perplexity, and the loss that stays readable where its exponential overflows.

    Args:
        loss: λ = ΣL / ΣT over documents, nats.
        ppl: exp(λ), in [1, ∞); None where it overflows: report ``loss``.
        loss_doc: mean of the documents' λ.
        ppl_doc: mean of the documents' exp(L/T); None where one of them overflows.
    """

    loss: float
    ppl: float | None
    loss_doc: float
    ppl_doc: float | None


def perplexity(losses: ArrayLike, tokens: ArrayLike) -> Perplexity:
    """Token-weighted and per-document perplexity; both down.

    Args:
        losses: (N,) L of each document, nats.
        tokens: (N,) T of each document, at least 1.

    Raises:
        InputError: no document, or one without a scored token.

    >>> found = perplexity([2.0, 16.0], [2, 8])
    >>> round(found.ppl, 3), round(found.ppl_doc, 3)
    (6.05, 5.054)
    """
    L, T = np.asarray(losses, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    if len(T) == 0 or not (T >= 1).all():
        raise InputError("perplexity needs documents of at least one scored token each")
    per_document = L / T
    loss = float(L.sum() / T.sum())
    return Perplexity(loss, _exp(np.array([loss])), float(per_document.mean()), _exp(per_document))


def bits_per_byte(losses: ArrayLike, utf8_bytes: ArrayLike) -> float:
    """ΣL / (ln 2 · Σ bytes): the only one of these that compares models with different tokenisers; down.

    Args:
        losses: (N,) L of each document, nats.
        utf8_bytes: (N,) length of each scored text in UTF-8.
    """
    total = float(np.sum(np.asarray(utf8_bytes, dtype=np.float64)))
    return float(np.sum(np.asarray(losses, dtype=np.float64))) / (math.log(2) * total) if total > 0 else math.nan


@dataclass(frozen=True)
class Window:
    """One reading of a piece of a document: tokens start … end−1, of which first_scored … end−1 are scored."""

    start: int
    end: int
    first_scored: int


def windows(length: int, context: int) -> list[Window]:
    """Windows of the context length with a stride of half of it.

    Every token but the document's first is scored once; with at least ⌊context/2⌋ tokens before it, or all there are.

    Args:
        length: tokens of the document; below 2 nothing can be scored.
        context: C ≥ 2, what the model reads at once.

    >>> for window in windows(9, 4):
    ...     print(window.start, window.end, window.first_scored)
    0 4 1
    2 6 4
    4 8 6
    6 9 8
    """
    if context < 2:
        raise InputError(f"a context of {context} tokens scores nothing; it must be at least 2")
    found: list[Window] = []
    start, scored = 0, 1
    while scored < length:
        end = min(start + context, length)
        found.append(Window(start, end, scored))
        start, scored = start + context // 2, end
    return found


def _exp(losses: Floats) -> float | None:
    """Mean of exp, None on overflow."""
    with np.errstate(over="ignore"):
        value = float(np.exp(losses).mean())
    return None if math.isinf(value) else value
