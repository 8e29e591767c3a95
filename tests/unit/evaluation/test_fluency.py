from __future__ import annotations

import math

import pytest

from ofmu.evaluation.fluency import empty_share, is_empty, rep4


def test_repeated_four_grams():
    assert rep4([1, 2, 3, 4]) == 0
    assert rep4(range(50)) == 0
    assert rep4([7] * 13) == pytest.approx(1 - 1 / 10)
    assert rep4(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 - 4 / 5)


@pytest.mark.parametrize("tokens", [[], [1], [1, 1, 1]])
def test_fewer_than_four_tokens_have_nothing_to_repeat(tokens):
    assert math.isnan(rep4(tokens))


def test_empty_share():
    assert empty_share(["Paris.", " \n", ""]) == pytest.approx(2 / 3)
    assert math.isnan(empty_share([]))
    assert is_empty("\t")
    assert not is_empty(".")
