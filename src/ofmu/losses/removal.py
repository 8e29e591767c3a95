"""A forget loss for whole classes: the removed classes are predicted no more often than by chance."""

from __future__ import annotations

import torch
from torch import Tensor

from ofmu.losses.rows import Rows


def removal(rows: Rows, removed: Tensor, chance: float) -> Tensor:
    """Cross-entropy of the removed classes' probability above chance; 0 once they are as rare as chance.

    With P = Σ_{k removed} p_k and P* the chance share:  f_i = max(0, log(1 − P*) − log(1 − P)).

    Args:
        rows: scored rows of B examples (images of the removed classes).
        removed: (K,) bool, the classes to remove.
        chance: P* in (0, 1), the removed classes' share of all classes.

    Returns:
        (B,), ≥ 0, in nats; no push beyond chance.

    >>> import torch
    >>> rows = Rows(torch.zeros(1, 4), torch.tensor([0]), torch.tensor([0]), ("a",))
    >>> removal(rows, torch.tensor([True, False, False, False]), 0.25).item()
    0.0
    """
    log_kept = rows.logits.masked_fill(removed, -torch.inf).logsumexp(dim=1) - rows.logits.logsumexp(dim=1)
    excess = torch.log1p(torch.tensor(-chance, dtype=log_kept.dtype, device=log_kept.device)) - log_kept
    return rows.sums(excess.clamp_min(0))
