"""A forget loss that can be finished: every example's loss is led to the level of data never seen."""

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
    losses, levels = rows.nll_means(), levels.to(rows.logits.dtype)
    if sides == "one":
        losses = torch.minimum(losses, levels)
    return huber_loss(losses, levels, reduction="none", delta=width)
