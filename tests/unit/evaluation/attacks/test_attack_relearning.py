from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.errors import InputError
from ofmu.evaluation.attacks.relearning import Relearning, grid, step_size, taught_positions

AUTHORS = [f"a{i // 20}" for i in range(400)]


def test_one_author_of_twenty_is_taught_whole():
    for seed in range(5):
        chosen = taught_positions(AUTHORS, "cluster", seed)
        assert len(chosen) == 20
        assert len({AUTHORS[i] for i in chosen}) == 1
    assert len({tuple(taught_positions(AUTHORS, "cluster", seed)) for seed in range(5)}) > 1
    assert taught_positions(AUTHORS, "cluster", 3) == taught_positions(AUTHORS, "cluster", 3)


def test_small_clusters_are_taught_together_and_large_ones_are_cut():
    singles = [f"c{i}" for i in range(100)]
    assert len(taught_positions(singles, "cluster", 0)) == 20
    assert len(taught_positions(["one"] * 100, "cluster", 0)) == 20
    assert len(taught_positions(["a"] * 3 + ["b"] * 3, "cluster", 0)) == 3


def test_shares_are_counted_in_examples():
    assert len(taught_positions(AUTHORS, "5%", 0)) == 20
    assert len(taught_positions(AUTHORS, "10%", 0)) == 40
    assert taught_positions(AUTHORS, "all", 0) == list(range(400))
    assert taught_positions(AUTHORS, "retain", 0) == []
    assert len({AUTHORS[i] for i in taught_positions(AUTHORS, "5%", 0)}) > 5


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=20), seed=st.integers(0, 9))
def test_never_more_than_half_is_taught_of_whole_clusters_and_never_none(sizes: list[int], seed: int):
    clusters = [f"c{k}" for k, size in enumerate(sizes) for _ in range(size)]
    if len(clusters) < 2:
        return
    chosen = taught_positions(clusters, "cluster", seed)
    assert 1 <= len(chosen) <= min(20, len(clusters) // 2)
    assert chosen == sorted(set(chosen))


def test_the_grid():
    assert grid(64, 400, 8) == (0, 1, 2, 4, 8, 16, 32, 50, 64)
    assert grid(64, 20, 8) == (0, 1, 2, 3, 4, 8, 16, 32, 64)
    assert grid(16, 400, 8) == (0, 1, 2, 4, 8, 16)
    assert grid(10, 400, 8) == (0, 1, 2, 4, 8, 10)


def test_large_models_take_the_public_step_sizes():
    assert step_size(0.02, 0.01, 10**8) == pytest.approx(2e-4)
    assert [step_size(rate, 0.01, 10**9) for rate in (0.005, 0.02, 0.05)] == [1e-5, 2e-5, 5e-5]
    with pytest.raises(InputError, match=r"\.005, \.02 or \.05"):
        step_size(0.03, 0.01, 10**9)


def test_options_are_checked():
    with pytest.raises(InputError, match=r"unknown set to be taught 'clusters' \(did you mean 'cluster'\?\)"):
        Relearning(taught=("clusters",))
    with pytest.raises(InputError, match="must be >= 1"):
        Relearning(steps=0)
