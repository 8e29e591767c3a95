"""What one row of logits says of its true token: its log-probability, how unusual that is, whether it came first."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ofmu.evaluation.attack_scores import VARIANCE_FLOOR

_ON_CPU = 1 << 17  # logits at a time: what the passes over them share stays in the processor's cache
_ELSEWHERE = 1 << 24
_NEVER = -1e4  # a log-probability whose probability is 0 in every precision, and whose square is finite


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


def token_statistics(logits: Tensor, labels: Tensor) -> TokenStatistics:
    """All three from one visit to the logits, some rows at a time: no second array of their size is ever made.

    μ = Σ_v p log p, σ² = Σ_v p (log p)² − μ², at least 1e-6; 0 · (−∞) = 0.

    Args:
        logits: (R, V), float32 or wider.
        labels: (R,).

    Source: METRICS.md §0 (arithmetic), §4 (min-k++).
    """
    height = max(1, (_ON_CPU if logits.device.type == "cpu" else _ELSEWHERE) // logits.shape[1])
    parts = [_of_rows(*part) for part in zip(logits.split(height), labels.split(height))]
    if not parts:
        empty = logits.new_zeros(0)
        return TokenStatistics(empty, empty, empty.bool())
    return TokenStatistics(*(torch.cat(column) for column in zip(*parts)))


def _of_rows(logits: Tensor, labels: Tensor) -> TokenStatistics:
    log_p = logits.log_softmax(dim=1)
    own = log_p.gather(1, labels[:, None])[:, 0]
    correct = logits.argmax(dim=1) == labels
    log_p.clamp_(min=_NEVER)
    weighted = log_p.exp()
    mean = torch.linalg.vecdot(weighted, log_p)
    variance = torch.linalg.vecdot(weighted.mul_(log_p), log_p) - mean.square()
    return TokenStatistics(own, (own - mean) / variance.clamp_min(VARIANCE_FLOOR).sqrt(), correct)
