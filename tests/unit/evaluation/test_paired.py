from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ofmu.errors import InputError
from ofmu.evaluation.paired import PairedTest, cluster_means, equivalent, holm, paired_test

ROWS = [str(index) for index in range(120)]
pvalues = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_the_worked_example_of_sign_flips():
    found = paired_test([0.2, 0.1, -0.05, 0.3], np.zeros(4), list("abcd"), "test")
    assert found.pvalue == 0.25
    assert found.interval is None  # four clusters are too few
    assert found.difference == pytest.approx(0.1375)


def test_the_unit_is_the_cluster():
    rng = np.random.default_rng(0)
    a = np.repeat(rng.normal(0.3, 1, 12), 10) + rng.normal(0, 0.1, 120)
    clusters = [f"author {index // 10}" for index in range(120)]
    by_author, by_row = (paired_test(a, np.zeros(120), names, "t") for names in (clusters, ROWS))
    assert by_author.difference == by_row.difference
    assert np.diff(by_author.interval) > 2 * np.diff(by_row.interval)
    assert np.diff(by_author.interval_90) < np.diff(by_author.interval)
    assert by_author.pvalue > by_row.pvalue
    assert (by_author.n, by_author.clusters) == (120, 12)


def test_accuracies_are_compared_as_zeros_and_ones():
    right, wrong = np.ones(9), np.zeros(9)
    found = paired_test(right, wrong, [str(i) for i in range(9)], "test")
    assert found.difference == 1
    assert found.pvalue == 2 / 2**9


def test_what_one_lacks_is_left_out_for_both():
    found = paired_test([1.0, np.nan, 3.0], [0.0, 0.0, np.nan], list("abc"), "test")
    assert (found.n, found.clusters, found.difference) == (1, 1, 1)
    assert np.isnan(paired_test([np.nan], [1.0], ["a"], "test").pvalue)
    with pytest.raises(InputError, match="do not pair"):
        paired_test([1.0], [1.0, 2.0], ["a"], "test")


def test_cluster_means():
    assert cluster_means(np.array([1.0, 3.0, 7.0]), np.array([0, 0, 1])).tolist() == [2, 7]


@pytest.mark.parametrize(
    ("interval", "margin", "expected"),
    [
        ((-0.1, 0.1), 0.2, True),
        ((-0.1, 0.3), 0.2, False),
        ((-0.3, 0.1), 0.2, False),
        ((0.3, 0.4), 0.2, False),
        ((-0.1, 0.1), None, None),
        (None, 0.2, None),
    ],
)
def test_equivalence_is_claimed_only_where_shown(interval, margin, expected):
    assert equivalent(PairedTest(0, interval, interval, 1, 9, 9), margin) is expected


def test_a_difference_that_is_not_significant_is_not_equivalence():
    d = np.array([3.0, -2.5, 1.0, -2.0, 2.5, -1.5, 1.0, -1.2, 0.5, -0.6])
    found = paired_test(d, np.zeros(10), [str(i) for i in range(10)], "test")
    assert found.pvalue > 0.5
    assert equivalent(found, 0.5) is False


@given(pvalues)
def test_holm_steps_down(p):
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for rank, index in enumerate(np.argsort(p, kind="stable")):
            if p[index] * (len(p) - rank) > level:
                break
            rejected.add(int(index))
        assert rejected == set(np.flatnonzero(adjusted <= level).tolist())
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_holm_refuses_what_is_no_p_value():
    for p in ([0.1, np.nan], [-0.1], [1.1]):
        with pytest.raises(InputError, match="between 0 and 1"):
            holm(p)


def test_equivalence_by_the_interval_is_that_by_two_one_sided_t_tests():
    rng = np.random.default_rng(3)
    d = rng.normal(0.05, 0.4, 60)
    names = [str(i) for i in range(60)]
    low, high = paired_test(d, np.zeros(60), names, "test").interval_90
    by_t = stats.t.interval(0.9, 59, d.mean(), stats.sem(d))
    assert (low, high) == pytest.approx(by_t, abs=0.01)
