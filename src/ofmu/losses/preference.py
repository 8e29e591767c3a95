"""Preference losses with forget examples as the rejected answers: bounded forms of gradient ascent."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from ofmu.losses.rows import Rows


def npo(rows: Rows, reference: Tensor, beta: float) -> Tensor:
    """Negative preference optimisation: f_i = −(2/β) log σ(β (S_i − S_i⁰)), S the token *sum* of the loss.

    Args:
        rows: scored positions of B examples.
        reference: (B,), S_i⁰ of the model before unlearning.
        beta: β > 0, the inverse temperature; β → 0 is gradient ascent.

    Returns:
        (B,), > 0. At the start its gradient is that of −S_i; it fades as S_i − S_i⁰ grows.

    Source: Zhang, Lin, Bai, Mei 2024 (arXiv 2404.05868), eq. 3.

    >>> import torch
    >>> rows = Rows(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0]), ("a",))
    >>> round(npo(rows, rows.nll_sums(), 0.1).item(), 4)  # (2/β) log 2
    13.8629
    """
    return -(2 / beta) * logsigmoid(beta * (rows.nll_sums() - reference))


def simnpo(rows: Rows, beta: float, delta: float) -> Tensor:
    """Simple NPO, without a reference: f_i = −(2/β) log σ(β (A_i − δ)), A the token *mean* of the loss.

    Args:
        rows: scored positions of B examples.
        beta: β > 0.
        delta: δ ≥ 0, the loss in nats around which the gradient fades; the paper's margin is γ = βδ.

    Returns:
        (B,), > 0.

    Source: Fan et al. 2024 (arXiv 2410.07163), eq. 4. **Differs**: δ stands outside β, as in the public code's name.

    >>> import torch
    >>> rows = Rows(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0]), ("a",))
    >>> round(simnpo(rows, 2.0, 0.0).item(), 4)  # log(1 + e^{-2 log 2}) = log 1.25
    0.2231
    """
    return -(2 / beta) * logsigmoid(beta * (rows.nll_means() - delta))
