"""Passes dealt out to processes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ofmu.evaluation.passes import Piece, batches, done


def test_each_rank_does_its_share_and_as_many_as_the_others():
    ran: list[list[int]] = [[], []]

    def of_rank(rank: int) -> list[Any]:
        def one(number: int) -> Any:
            ran[rank].append(number)
            return Piece(np.array([number]), {}, 0)

        ranks: Any = SimpleNamespace(world=2, rank=rank, gathered=lambda made: made)
        return done([lambda number=number: one(number) for number in range(5)], ranks)

    found = [int(piece.example[0]) for rank in (0, 1) for piece in of_rank(rank)]
    assert ran == [[0, 2, 4], [1, 3, 4]]
    assert sorted(set(found)) == [0, 1, 2, 3, 4]
    assert done([], None) == []


@pytest.mark.parametrize("size", [1, 3, 9])
def test_portions_lose_nothing(size):
    portions = list(batches(np.arange(7), size))
    assert np.concatenate(portions).tolist() == list(range(7))
    assert max(map(len, portions)) <= size
