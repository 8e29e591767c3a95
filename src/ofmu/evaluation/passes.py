"""Forward passes as a list: each process does its share, and all get what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofmu.engine.processes import Processes


@dataclass(frozen=True, eq=False)
class Piece:
    """The rows that one forward pass gives.

    Args:
        example: (R,), the numbers of the examples.
        columns: column of a record → (R,); the rows of an example in their order.
        classes: K, of classes or of the vocabulary.
    """

    example: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    classes: int


Pass = Callable[[], Piece]


def done(passes: Sequence[Pass], ranks: Processes | None) -> list[Piece]:
    """What all passes give, on every rank, in an order that may depend on the number of ranks.

    Each rank does every so manieth. A rank with fewer of them repeats its last one and forgets the result: a model
    that is wrapped or sharded needs as many passes on every rank.

    Args:
        passes: the same on every rank.
        ranks: None: this process does all.
    """
    if ranks is None or ranks.world == 1 or not passes:
        return [each() for each in passes]
    most = -(-len(passes) // ranks.world)
    own = [min(number * ranks.world + ranks.rank, len(passes) - 1) for number in range(most)]
    made = [(number, passes[number]()) for number in own]
    return list(dict(ranks.gathered(made)).values())


def batches(order: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Numbers in portions."""
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
