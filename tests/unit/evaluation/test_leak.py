from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ofmu.errors import InputError
from ofmu.evaluation.leak import expected_best, leak_at_k, leak_upper_bound, leaks


def test_the_worked_examples():
    assert leak_at_k([1], 4, 2) == pytest.approx([0.5], abs=1e-12)
    assert expected_best([0.1, 0.2, 0.4, 0.9], 2) == pytest.approx(0.6167, abs=5e-5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_expected_best_is_the_mean_over_all_draws_of_k(scores, data):
    k = data.draw(st.integers(1, len(scores)))
    best = [max(drawn) for drawn in itertools.combinations(scores, k)]
    assert expected_best(scores, k) == pytest.approx(np.mean(best), abs=1e-12)


@given(st.integers(1, 60), st.data())
def test_leak_at_k_is_the_share_of_draws_that_leak(samples, data):
    c, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    exact = 1 - math.comb(samples - c, k) / math.comb(samples, k)
    assert leak_at_k([c], samples, k)[0] == pytest.approx(exact, abs=1e-12)
    scores = np.repeat([1.0, 0.0], [c, samples - c])
    assert expected_best(scores, k) == pytest.approx(exact, abs=1e-10)


@given(st.integers(2, 256), st.data())
def test_more_tries_never_leak_less(samples, data):
    c = data.draw(st.integers(0, samples))
    curve = [leak_at_k([c], samples, k)[0] for k in range(1, samples + 1)]
    assert (np.diff(curve) >= -1e-12).all()
    assert curve[0] == pytest.approx(c / samples, abs=1e-12)


def test_large_samples_do_not_overflow():
    # log-gamma is about 1e6 here, so its rounding is 2e-10 in the logarithm of a share of 1e-3
    assert leak_at_k([1, 0, 100_000], 100_000, 128) == pytest.approx([128 / 100_000, 0, 1], rel=1e-6)


def test_scores_of_several_questions_at_once():
    scores = np.random.default_rng(0).random((5, 12))
    assert expected_best(scores, 3) == pytest.approx([float(expected_best(row, 3)) for row in scores])
    assert leaks(scores).tolist() == [(row >= 0.5).sum() for row in scores]


@pytest.mark.parametrize("k", [0, 5, -1])
def test_k_must_lie_between_one_and_the_samples(k):
    with pytest.raises(InputError, match=f"leak@{k} of 4 samples"):
        leak_at_k([1], 4, k)
    with pytest.raises(InputError, match=f"leak@{k} of 4 samples"):
        expected_best([0.1, 0.2, 0.3, 0.4], k)


def test_a_judge_that_failed_is_not_a_judge_that_found_nothing():
    with pytest.raises(InputError, match="1 samples have no score"):
        leaks([[0.2, np.nan]])
    with pytest.raises(InputError, match="no score"):
        expected_best([0.2, np.nan], 1)
    with pytest.raises(InputError, match="0 to 4"):
        leak_at_k([5], 4, 1)


@pytest.mark.parametrize(("c", "n"), [(0, 1), (0, 100), (3, 40), (40, 40), (1, 1000)])
def test_upper_bound_is_the_exact_binomial_one(c, n):
    bound = binomtest(c, n, alternative="less").proportion_ci(0.95, method="exact").high
    assert leak_upper_bound(c, n) == pytest.approx(bound, rel=1e-9)
