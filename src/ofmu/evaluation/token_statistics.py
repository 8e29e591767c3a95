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
    order = row.argsort(stable=True)
    row, labels = row[order], labels[order]
    height = max(1, (_ON_CPU if logits.device.type == "cpu" else _ELSEWHERE) // logits.shape[1])
    starts = torch.arange(0, len(logits), height, device=row.device)
    sizes = torch.searchsorted(row, starts).diff(append=torch.tensor([len(row)], device=row.device)).tolist()
    chunks = zip(logits.split(height), labels.split(sizes), (row % height).split(sizes))
    parts = [_of_rows(*chunk) for chunk in chunks if len(chunk[1])]
    if not parts:
        empty = logits.new_zeros(0)
        return TokenStatistics(empty, empty, empty.bool())
    back = order.argsort()
    return TokenStatistics(*(torch.cat(column)[back] for column in zip(*parts)))


def _of_rows(logits: Tensor, labels: Tensor, row: Tensor) -> TokenStatistics:
    """Moments of c = logit − max: a shift changes neither σ nor log p − μ, and log p = c + log p_max."""
    top, p = logits.amax(dim=1), logits.softmax(dim=1)
    c = logits - top[:, None]
    own = c[row, labels]
    log_p = own + p.amax(dim=1).log()[row]
    c.clamp_(min=_NEVER)
    mean = torch.linalg.vecdot(p, c)
    variance = torch.linalg.vecdot(p.mul_(c), c) - mean.square()
    z = (own - mean[row]) / variance.clamp_min(VARIANCE_FLOOR).sqrt()[row]
    return TokenStatistics(log_p, z, _first(logits, c, own == 0, labels, row))


def _first(logits: Tensor, c: Tensor, hit: Tensor, labels: Tensor, row: Tensor) -> Tensor:
    """Which of the labels that reach the maximum are the lowest id that does; overwrites c.

    A search for the place of each maximum would cost as much as all the rest: only rows with two of them need it.
    """
    place = torch.zeros(len(c), 1, dtype=torch.long, device=c.device)
    place[row[hit], 0] = labels[hit]
    doubtful = hit & (c.scatter_(1, place, -torch.inf).amax(dim=1) == 0)[row]
    correct = hit.clone()
    correct[doubtful] = logits[row[doubtful]].argmax(dim=1) == labels[doubtful]
    return correct
