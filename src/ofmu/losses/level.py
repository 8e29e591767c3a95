"""Forget losses that can be finished: an example's loss, or each of its tokens', is led to the level of unseen data."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from ofmu.losses.rows import Rows

Sides = Literal["one", "two"]


def level(rows: Rows, levels: Tensor, width: float, sides: Sides = "two") -> Tensor:
    """Huber distance of each example's mean loss A_i to its own level L_i.

    f_i = ½ d² where |d| ≤ w, else w (|d| − ½ w), with d = A_i − L_i; one-sided: d = min(A_i − L_i, 0).

    Below its level an example is forgotten further. Two-sided, above it it is called back: over-forgetting shows too.

    Args:
        rows: scored positions of B examples.
        levels: (B,), L_i ≥ 0 in nats.
        width: w > 0 in nats, where the quadratic turns linear, so that far examples do not rule the gradient.
        sides: ``two``, or ``one``: no pull from above.

    Returns:
        (B,), ≥ 0; 0 when finished.

    >>> rows = Rows(torch.zeros(2, 4), torch.tensor([0, 1]), torch.tensor([0, 1]), ("a", "b"))
    >>> [round(v, 4) for v in level(rows, torch.tensor([1.3863, 5.3863]), 1.0).tolist()]
    [0.0, 3.5]
    """
    return _huber(rows.nll_means(), levels.to(rows.logits.dtype), width, sides)


def token_level(rows: Rows, levels: Tensor, width: float, sides: Sides = "two") -> Tensor:
    """Huber distance of each token's loss ℓ_t to its own level l_t, mean over an example's tokens.

    f_i = (1/n_i) Σ_t h(ℓ_t − l_t), h as in :func:`level`.

    A mean at its level can hide a few tokens far above theirs and many below; here it cannot.

    Args:
        rows: scored positions of B examples.
        levels: (R,), l_t ≥ 0 of every row, in nats, such as :func:`by_rank` gives.
        width: w > 0 in nats.
        sides: as in :func:`level`.

    Returns:
        (B,), ≥ 0; 0 when finished.

    >>> rows = Rows(torch.zeros(2, 4), torch.tensor([0, 1]), torch.tensor([0, 0]), ("a",))
    >>> [round(v, 4) for v in token_level(rows, torch.tensor([1.3863, 5.3863]), 1.0).tolist()]
    [1.75]
    """
    distance = _huber(-rows.log_probabilities(), levels.to(rows.logits.dtype), width, sides)
    return rows.sums(distance) / rows.counts().clamp_min(1)


def in_place(rows: Rows, values: Tensor) -> Tensor:
    """Values given example after example, each in the order of its tokens, to the rows that they belong to: (R,).

    Args:
        rows: scored positions of B examples, those of an example in the order of its tokens.
        values: (R,), first those of example 0, then of example 1 …
    """
    found = torch.empty_like(values)
    found[rows.example.argsort(stable=True)] = values
    return found


def by_rank(rows: Rows, values: Tensor) -> Tensor:
    """Deal values out by the rank of each token's present loss within its example: (R,), without gradient.

    The likeliest token gets the first value. Of all ways to deal ascending values out, this one has the least total
    distance, so the loss stays continuous where two tokens change places.

    Args:
        rows: scored positions of B examples.
        values: (R,), first those of example 0, ascending, then of example 1 …

    >>> rows = Rows(torch.tensor([[0.0, 3.0], [3.0, 0.0]]), torch.tensor([0, 0]), torch.tensor([0, 0]), ("a",))
    >>> by_rank(rows, torch.tensor([1.0, 2.0])).tolist()  # the second token is the likelier one
    [2.0, 1.0]
    """
    by_loss = rows.log_probabilities().detach().argsort(descending=True, stable=True)
    order = by_loss[rows.example[by_loss].argsort(stable=True)]
    found = torch.empty_like(values)
    found[order] = values
    return found


def _huber(losses: Tensor, levels: Tensor, width: float, sides: Sides) -> Tensor:
    if sides == "one":
        losses = torch.minimum(losses, levels)
    return huber_loss(losses, levels, reduction="none", delta=width)
