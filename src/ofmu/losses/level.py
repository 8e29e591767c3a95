"""A forget loss that can be finished: every example's loss is led to the level of data never seen."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import huber_loss

from ofmu.losses.rows import Rows


def level(rows: Rows, levels: Tensor, width: float) -> Tensor:
    """Huber distance of each example's mean loss A_i to its own level L_i, two-sided.

    f_i = ½ d² where |d| ≤ w, else w (|d| − ½ w), with d = A_i − L_i.

    Below its level an example is forgotten further, above it it is called back: over-forgetting shows too.

    Args:
        rows: scored positions of B examples.
        levels: (B,), L_i ≥ 0 in nats.
        width: w > 0 in nats, where the quadratic turns linear, so that far examples do not rule the gradient.

    Returns:
        (B,), ≥ 0; 0 when finished.

    >>> import torch
    >>> rows = Rows(torch.zeros(2, 4), torch.tensor([0, 1]), torch.tensor([0, 1]), ("a", "b"))
    >>> [round(v, 4) for v in level(rows, torch.tensor([1.3863, 5.3863]), 1.0).tolist()]
    [0.0, 3.5]
    """
    return huber_loss(rows.nll_means(), levels.to(rows.logits.dtype), reduction="none", delta=width)
