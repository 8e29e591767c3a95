"""What one row of logits says of its true token: its log-probability, how unusual that is, whether it came first."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ofmu.evaluation.attack_scores import VARIANCE_FLOOR

_ON_CPU = 1 << 17  # logits at a time: what the passes over them share stays in the processor's cache
_ELSEWHERE = 1 << 24
_NEVER = -1e4  # a log-probability whose probability is 0 in every precision, and whose square is finite
_HALF = 0.5001  # with room for rounding


class TokenStatistics(NamedTuple):
    """Of R scored tokens, each (R,).

    Args:
        log_p: log p of the true token, nats.
        z: (log p − μ)/σ over the vocabulary.
        correct: the true token is the likeliest one, the lowest id among equals.
    """

    log_p: Tensor
    z: Tensor
    correct: Tensor


class _Moments(NamedTuple):
    """Of c = logit − max over each of U rows, each (U,): a shift changes neither σ nor log p − μ.

    Args:
        top: the maximum.
        largest: p of the likeliest token.
        mean: Σ p c.
        variance: Σ p c² − mean².
    """

    top: Tensor
    largest: Tensor
    mean: Tensor
    variance: Tensor


def token_statistics(logits: Tensor, labels: Tensor, row: Tensor | None = None) -> TokenStatistics:
    """All three from one visit to the logits, some rows at a time: no second array of their size is ever made.

    μ = Σ_v p log p, σ² = Σ_v p (log p)² − μ², at least 1e-6; 0 · (−∞) = 0.

    Args:
        logits: (U, V), float32 or wider.
        labels: (R,).
        row: (R,), the row of logits that predicts each label; None: one row a label, in order.

    Source: METRICS.md §0 (arithmetic), §4 (min-k++).
    """
    row = torch.arange(len(labels), device=labels.device) if row is None else row
    height = max(1, (_ON_CPU if logits.device.type == "cpu" else _ELSEWHERE) // logits.shape[1])
    moments = _Moments(*map(torch.cat, zip(*map(_moments, logits.split(height)))))
    own = logits[row, labels] - moments.top[row]
    log_p = own + moments.largest.log()[row]
    z = (own - moments.mean[row]) / moments.variance.clamp_min(VARIANCE_FLOOR).sqrt()[row]
    correct = own == 0
    # two of the likeliest have at most half each: only there the place of the maximum, dear to find, is needed
    doubtful = correct & (moments.largest < _HALF)[row]
    first = [logits[some].argmax(dim=1) for some in row[doubtful].split(height)]
    correct[doubtful] = torch.cat(first) == labels[doubtful]
    return TokenStatistics(log_p, z, correct)


def _moments(logits: Tensor) -> _Moments:
    """Of some rows (U, V)."""
    top = logits.amax(dim=1)
    c = (logits - top[:, None]).clamp_(min=_NEVER)
    p = c.softmax(dim=1)
    largest = p.amax(dim=1)
    weighted = p.mul_(c)
    mean = weighted.sum(dim=1)
    return _Moments(top, largest, mean, torch.linalg.vecdot(weighted, c) - mean.square())
