"""Negative log-likelihood."""

from __future__ import annotations

from torch import Tensor

from ofmu.losses.rows import Rows


def nll(rows: Rows) -> Tensor:
    """S_i = −Σ_t log p(y_t): to be divided by the number of tokens of the whole step (the `tokens` reduction).

    Args:
        rows: scored positions of B examples.

    Returns:
        (B,), ≥ 0, in nats. Gradient ascent minimises its negative.

    >>> import torch
    >>> rows = Rows(torch.zeros(3, 4), torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]), ("a", "b"))
    >>> [round(v, 4) for v in nll(rows).tolist()]  # log 4 a token
    [2.7726, 1.3863]
    """
    return rows.nll_sums()
