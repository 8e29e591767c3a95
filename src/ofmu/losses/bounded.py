"""Bounded forget losses: they push less and less, or stop, once an example is unlikely."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

from ofmu.losses.rows import Rows


def clip(rows: Rows, ceilings: Tensor) -> Tensor:
    """Ascent that fades out around a ceiling: f_i = softplus(C_i − A_i), A the token mean of the loss.

    Its gradient is −σ(C_i − A_i) ∇A_i: that of ascent far below the ceiling, half of it there, none far above.

    Args:
        rows: scored positions of B examples.
        ceilings: (B,), C_i in nats.

    Returns:
        (B,), > 0.

    >>> import torch
    >>> rows = Rows(torch.zeros(1, 4), torch.tensor([0]), torch.tensor([0]), ("a",))
    >>> round(clip(rows, torch.tensor([2.0])).item(), 4)  # log(1 + e^{2 − log 4}) = log(1 + e²/4)
    1.0464
    """
    return softplus(ceilings.to(rows.logits.dtype) - rows.nll_means())


def uniform(rows: Rows) -> Tensor:
    """Cross-entropy of the uniform distribution, above its least value log K: f_t = −(1/K) Σ_v log p(v) − log K.

    It is KL(U‖p_θ), summed over an example's rows (`tokens` reduction). Finished where nothing is preferred to
    anything: an end, but not that of data never seen, about which a model has an opinion all the same.

    Args:
        rows: scored positions of B examples over K classes.

    Returns:
        (B,), ≥ 0, in nats.

    Source: the direction KL(U‖p_θ) is that of public code for "maximising entropy"; the paper's (Yuan et al. 2024,
    arXiv 2410.08109) is KL(p_θ‖U).

    >>> import torch
    >>> rows = Rows(torch.tensor([[0.0, 2.0]]), torch.tensor([0]), torch.tensor([0]), ("a",))
    >>> round(uniform(rows).item(), 4)  # log(1 + e²) − 1 − log 2
    0.4338
    """
    logits = rows.logits
    return rows.sums(logits.logsumexp(dim=1) - logits.mean(dim=1) - math.log(logits.shape[1]))


def token_probability(rows: Rows, of: Literal["tokens", "examples"] = "tokens") -> Tensor:
    """The probability itself, lowered: the bounded twin of ascent.

    ``tokens``: f_i = Σ_t p(y_t), to be divided by the number of tokens of the whole step (`tokens` reduction).
    ``examples``: f_i = e^{−A_i} (`examples` reduction). This optimises a reported score, TOFU's "Probability".

    The gradient of p is −p ∇ℓ: that of ascent, weighted by how well a token is known; it fades as p does.

    Args:
        rows: scored positions of B examples.
        of: what has a probability.

    Returns:
        (B,), ≥ 0; ``examples``: ≤ 1.

    Source: at token level the gradient is that of WGA with its exponent at 1 (Wang et al. 2025, arXiv 2502.19301).

    >>> import torch
    >>> rows = Rows(torch.zeros(3, 4), torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]), ("a", "b"))
    >>> token_probability(rows).tolist(), [round(v, 4) for v in token_probability(rows, "examples").tolist()]
    ([0.5, 0.25], [0.25, 0.25])
    """
    if of == "examples":
        return (-rows.nll_means()).exp()
    return rows.sums(rows.log_probabilities().exp())
