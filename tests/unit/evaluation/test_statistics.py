from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from ofmu.evaluation import statistics as ours

small_ints = st.lists(st.integers(-5, 5), min_size=1, max_size=25)


def test_auc_of_the_worked_example():
    assert ours.auc(np.array([1.0, 2, 3]), np.array([2.0, 4, 5])) == pytest.approx(7.5 / 9, abs=1e-15)


@given(small_ints, small_ints)
def test_auc_is_the_share_of_pairs_won_and_agrees_with_scikit_learn(f, h):
    members, others = np.array(f, float), np.array(h, float)
    pairs = [1.0 if b > a else 0.5 if b == a else 0.0 for a, b in itertools.product(f, h)]
    assert ours.auc(members, others) == pytest.approx(np.mean(pairs), abs=1e-12)
    labels = [0] * len(f) + [1] * len(h)
    assert ours.auc(members, others) == pytest.approx(roc_auc_score(labels, f + h), abs=1e-12)
    assert ours.auc(members, others) + ours.auc(others, members) == pytest.approx(1, abs=1e-12)


@given(small_ints, small_ints, st.sampled_from([0.05, 0.1, 0.25, 0.5]))
def test_tpr_at_fpr_is_the_best_point_of_the_roc_curve_at_or_left_of_it(f, h, fpr):
    members, others = np.array(f, float), np.array(h, float)
    found = ours.tpr_at_fpr(members, others, fpr)
    if len(h) < 1 / fpr:
        assert np.isnan(found)
        return
    labels = [1] * len(f) + [0] * len(h)
    false, true, _ = roc_curve(labels, [-a for a in f + h], drop_intermediate=False)
    assert found == pytest.approx(true[false <= fpr + 1e-12].max())


def test_sign_flip_of_the_worked_example_and_by_hand():
    rng = ours.generator("test")
    assert ours.sign_flip(np.array([0.2, 0.1, -0.05, 0.3]), rng) == 0.25
    assert ours.sign_flip(np.zeros(5), rng) == 1.0
    assert ours.sign_flip(np.ones(14), rng) == 2 / 2**14


def test_sign_flip_beyond_fourteen_clusters_is_near_the_exact_value():
    differences = np.random.default_rng(1).normal(0.4, 1, size=16)
    exact = stats.permutation_test(
        (differences,), lambda d: abs(d.sum()), permutation_type="samples", n_resamples=2**16, vectorized=False
    ).pvalue
    assert ours.sign_flip(differences, ours.generator("test")) == pytest.approx(exact, abs=0.02)


def test_draws_of_means_are_means_of_whole_clusters():
    values = np.array([[1.0, 3.0, 10.0, np.nan], [0.0, 0.0, 4.0, 8.0]])
    clusters = np.array([0, 0, 1, 1])
    draws = ours.bootstrap_means(values, clusters, ours.generator("test"), 2000)
    both, first, second = 14 / 3, 2.0, 10.0  # the excluded example of the first model does not count
    assert set(np.round(draws[0], 9)) == {round(v, 9) for v in (both, first, second)}
    assert np.mean(np.isclose(draws[0], both)) == pytest.approx(0.5, abs=0.05)
    paired = {(round(a, 6), round(b, 6)) for a, b in draws.T}
    assert paired == {(4.666667, 3.0), (2.0, 0.0), (10.0, 6.0)}  # the same draw for both models


def test_interval_of_a_mean_has_the_width_that_theory_gives():
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(50), 4)
    values = (rng.normal(size=50)[clusters] + rng.normal(size=200))[None]
    low, high = ours.interval(ours.bootstrap_means(values, clusters, ours.generator("test"))[0]) or (0, 0)
    means = values[0].reshape(50, 4).mean(axis=1)
    assert high - low == pytest.approx(2 * 1.96 * means.std() / np.sqrt(50), rel=0.04)
    assert high - low > 1.5 * 2 * 1.96 * values.std() / np.sqrt(200)  # rows alone would be far too sure


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_draws_of_aucs_equal_a_slow_loop_over_resampled_lists(seed):
    rng = np.random.default_rng(seed)
    members = rng.integers(0, 6, size=(2, 9)).astype(float)
    others = rng.integers(2, 8, size=(2, 7)).astype(float)
    members[0, 3] = others[1, 2] = np.nan
    of_members, of_others = rng.integers(0, 4, size=9), rng.integers(0, 3, size=7)
    of_members[:4], of_others[:3] = range(4), range(3)
    draws = ours.bootstrap_aucs(members, of_members, others, of_others, ours.generator(str(seed)), 30)

    first, second = ours.generator(str(seed)).integers(0, 2**63, size=2)
    drawn_f = np.random.Generator(np.random.Philox(int(first))).integers(0, 4, size=(30, 4))
    drawn_h = np.random.Generator(np.random.Philox(int(second))).integers(0, 3, size=(30, 3))
    for model, draw in itertools.product(range(2), range(30)):
        f = np.concatenate([members[model][of_members == cluster] for cluster in drawn_f[draw]])
        h = np.concatenate([others[model][of_others == cluster] for cluster in drawn_h[draw]])
        slow = ours.auc(f[np.isfinite(f)], h[np.isfinite(h)])
        assert draws[model, draw] == pytest.approx(slow, abs=1e-12, nan_ok=True)


def test_the_same_names_give_the_same_draws_and_others_do_not():
    values, clusters = np.random.default_rng(0).normal(size=(1, 30)), np.arange(30)
    first = ours.bootstrap_means(values, clusters, ours.generator("metric", "data"))
    assert np.array_equal(first, ours.bootstrap_means(values, clusters, ours.generator("metric", "data")))
    assert not np.array_equal(first, ours.bootstrap_means(values, clusters, ours.generator("metric", "other")))


def test_an_interval_of_draws_that_are_not_all_finite_is_none():
    assert ours.interval(np.array([1.0, np.nan])) is None
    assert ours.interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))
