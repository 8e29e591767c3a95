"""What every loss sees: the logits of the scored positions, whatever the model was.

A language model scores several tokens of a sequence, an image classifier scores one class of an image: an image
is a sequence of one token. Both become the same rows, so each loss is written once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Scored positions of a batch of B examples over K classes (a vocabulary or image classes).

    Args:
        logits: (R, K), float32 or wider; row r predicts ``labels[r]``.
        labels: (R,), the true tokens or classes.
        example: (R,), values in 0 … B-1, the example that a row belongs to.
        ids: the B examples' ids.
    """

    logits: Tensor
    labels: Tensor
    example: Tensor
    ids: tuple[str, ...]

    def log_probabilities(self) -> Tensor:
        """Log p(label) of every row, in nats: (R,), ≤ 0."""
        logits = self.logits
        return logits.gather(1, self.labels[:, None])[:, 0] - logits.logsumexp(dim=1)

    def sums(self, values: Tensor) -> Tensor:
        """Σ over each example's rows: (R,) → (B,)."""
        return torch.zeros(len(self.ids), dtype=values.dtype, device=values.device).index_add(0, self.example, values)

    def counts(self) -> Tensor:
        """Number of scored rows of each example: (B,)."""
        return self.sums(torch.ones_like(self.labels, dtype=self.logits.dtype))

    def nll_sums(self) -> Tensor:
        """S_i = −Σ_t log p(y_t), in nats: (B,), ≥ 0."""
        return -self.sums(self.log_probabilities())

    def nll_means(self) -> Tensor:
        """A_i = S_i / n_i, the mean loss of an example's scored rows, in nats: (B,), ≥ 0; 0 where n_i = 0."""
        return self.nll_sums() / self.counts().clamp_min(1)

    def padded(self, values: Tensor, width: int) -> Tensor:
        """Each example's values in the order of its rows, then zeros: (R,) → (B, width).

        Args:
            values: one a row.
            width: at least the largest count of rows of an example.
        """
        order = self.example.argsort(stable=True)
        example = self.example[order]
        counts = torch.bincount(self.example, minlength=len(self.ids))
        position = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[example]
        found = torch.zeros(len(self.ids), width, dtype=values.dtype, device=values.device)
        found[example, position] = values[order]
        return found
