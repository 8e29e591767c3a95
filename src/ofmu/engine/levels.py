"""The level that forgetting ends at: the loss of data that the model has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Source = Literal["holdout", "swapped answers"]


@dataclass(frozen=True)
class Levels:
    """A level for each forget example and, where tokens were looked at, for each of its tokens, in nats.

    Args:
        by_id: forget id → level.
        source: where the distribution of levels comes from.
        tokens: forget id → (n_i,), the levels of its scored tokens in their order.
    """

    by_id: dict[str, float]
    source: Source
    tokens: dict[str, Floats] = field(default_factory=dict)

    def of(self, ids: tuple[str, ...]) -> list[float]:
        """The levels of some examples."""
        return [self.by_id[i] for i in ids]

    def of_tokens(self, ids: tuple[str, ...], *, ascending: bool) -> Floats:
        """The token levels of some examples, one example after the other.

        Args:
            ids: the examples.
            ascending: sorted within each example, in the place of the order of its tokens.
        """
        return np.concatenate([np.sort(self.tokens[i]) if ascending else self.tokens[i] for i in ids])


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
    values = np.quantile(unseen, (ranks(difficulty) + 0.5) / len(ids)) + shift
    return Levels(dict(zip(ids, np.maximum(values, 0.0).tolist())), source)


def deal_tokens(difficulty: Sequence[Floats], unseen: Sequence[Floats], shift: float = 0.0) -> list[Floats]:
    """A level for each token: those of an unseen example of like rank, dealt out by rank within the example.

    The example of rank r among n is paired with the unseen one at the same place among m, ⌊(r + ½) m/n⌋; its token of
    rank k among n_i gets the pair's quantile (k + ½)/n_i. So the means have the distribution of the unseen means, and
    within every example the least likely tokens are as unlikely as those of unseen data, and no more.

    Args:
        difficulty: n arrays (n_i,), token losses under the base model if there is one, else under the model before.
        unseen: m ≥ 1 arrays, token losses of data never seen, each with at least one token.
        shift: as in :func:`deal`.

    Returns:
        n arrays (n_i,), ≥ 0, in the order of the tokens.

    >>> deal_tokens([np.array([0.3, 0.1]), np.array([0.0, 0.0])], [np.array([4.0, 9.0]), np.array([1.0])])
    [array([9., 4.]), array([1., 1.])]
    """
    mean = lambda losses: float(losses.mean()) if len(losses) else 0.0  # noqa: E731
    pairs = np.argsort([mean(losses) for losses in unseen], kind="stable")
    rank = ranks(np.array([mean(losses) for losses in difficulty]))
    found = []
    for r, losses in zip(rank, difficulty, strict=True):
        pair = unseen[pairs[int((r + 0.5) * len(pairs) / len(rank))]]
        share = (ranks(losses) + 0.5) / max(len(losses), 1)
        found.append(np.maximum(np.quantile(pair, share, method="hazen") + shift, 0.0))
    return found


def ranks(values: Floats) -> NDArray[np.int64]:
    """0 for the smallest … n − 1 for the largest; equals in their order."""
    return values.argsort(kind="stable").argsort(kind="stable")


def agreement(losses: Floats, levels: Floats) -> float:
    """p-value of the two-sample Kolmogorov–Smirnov test between forget losses and levels: large when they agree."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(losses, levels).pvalue)  # pyright: ignore[reportAttributeAccessIssue]
