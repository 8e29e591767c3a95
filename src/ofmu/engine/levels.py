"""The level that forgetting ends at: the loss of data that the model has never seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Source = Literal["holdout", "swapped answers"]


@dataclass(frozen=True)
class Levels:
    """A level for each forget example, in nats.

    Args:
        by_id: forget id → level.
        source: where the distribution of levels comes from.
    """

    by_id: dict[str, float]
    source: Source

    def of(self, ids: tuple[str, ...]) -> list[float]:
        """The levels of some examples."""
        return [self.by_id[i] for i in ids]


def deal(
    ids: tuple[str, ...],
    difficulty: Floats,
    unseen: Floats,
    source: Source,
    shift: float = 0.0,
) -> Levels:
    """Deal the quantiles of the unseen losses out by the rank of each example's own difficulty.

    level_i = Q((rank_i + ½)/n) + shift, Q the quantile function of `unseen`. The result is a distribution and not
    a constant, and hard examples stay hard.

    Args:
        ids: n forget examples.
        difficulty: (n,), their losses under the base model if there is one, else under the model before.
        unseen: (m,), losses of data never seen, m ≥ 1.
        source: where `unseen` comes from.
        shift: the base model's difference in difficulty between forget set and holdout, in nats.

    >>> levels = deal(("a", "b"), np.array([0.2, 0.1]), np.array([5.0, 6.0, 7.0]), "holdout")
    >>> levels.by_id
    {'a': 6.5, 'b': 5.5}
    """
    rank = difficulty.argsort(kind="stable").argsort(kind="stable")
    values = np.quantile(unseen, (rank + 0.5) / len(ids)) + shift
    return Levels(dict(zip(ids, np.maximum(values, 0.0).tolist())), source)


def agreement(losses: Floats, levels: Floats) -> float:
    """p-value of the two-sample Kolmogorov–Smirnov test between forget losses and levels: large when they agree."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(losses, levels).pvalue)  # pyright: ignore[reportAttributeAccessIssue]
