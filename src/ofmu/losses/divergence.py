"""Divergence from the model before unlearning."""

from __future__ import annotations

from torch import Tensor

from ofmu.losses.rows import Rows


def kl(rows: Rows, reference: Tensor) -> Tensor:
    """Σ_t KL(p_0‖p_θ) over an example's scored rows: keeps the model where it was (`tokens` reduction).

    KL(p_0‖p_θ) = Σ_v p_0(v) [log p_0(v) − log p_θ(v)]

    Args:
        rows: scored positions of B examples.
        reference: (R, K), logits of the model before unlearning at the same rows, without gradient.

    Returns:
        (B,), ≥ 0, in nats; 0 with zero gradient where p_θ = p_0.

    Source: TOFU (arXiv 2401.06121), §4.
    **Differs**: public code averages over prompt and padding positions too; here only scored rows count.

    >>> import torch
    >>> logits = torch.tensor([[1.0, 2.0], [0.5, 0.0]])
    >>> rows = Rows(logits, torch.tensor([0, 1]), torch.tensor([0, 1]), ("a", "b"))
    >>> kl(rows, logits).tolist()
    [0.0, 0.0]
    """
    log_p0 = reference.log_softmax(dim=1)
    return rows.sums((log_p0.exp() * (log_p0 - rows.logits.log_softmax(dim=1))).sum(dim=1))
