from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from ofmu.errors import InputError
from ofmu.evaluation import kolmogorov_smirnov as ks

samples = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=12)


def test_the_worked_example():
    found = ks.kolmogorov_smirnov([1.0, 2, 3], [4.0, 5, 6])
    assert found.statistic == 1
    assert found.pvalue == pytest.approx(0.1, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "printed"), [(40, "1.86e-23"), (200, "1.94e-119"), (300, "1.48e-179"), (400, "1.06e-239")]
)
def test_the_floors_of_the_table(n, printed):
    found = ks.kolmogorov_smirnov(np.arange(n), np.arange(n) + n)
    assert f"{found.pvalue:.2e}" == printed
    assert found.log10_pvalue == pytest.approx(log10_floor(n), rel=1e-12)


@pytest.mark.parametrize("n", [520, 600, 2000, 10_000])
def test_log10_p_stays_right_below_the_smallest_float(n):
    found = ks.kolmogorov_smirnov(np.arange(n), np.arange(n) + n)
    assert found.pvalue < 1e-308
    assert found.log10_pvalue == pytest.approx(log10_floor(n), rel=1e-12)


def test_sides_of_different_size_below_the_smallest_float():
    n, m = 700, 450
    found = ks.kolmogorov_smirnov(np.arange(n), np.arange(m) + n)
    assert found.pvalue == 0
    assert found.log10_pvalue == pytest.approx((math.log(2) - log_choose(n + m, n)) / math.log(10), rel=1e-10)


@given(samples, samples)
def test_it_is_scipys_exact_test(a, b):
    found = ks.kolmogorov_smirnov(a, b)
    assume(round(found.statistic * len(a)) != 1 or len(a) != len(b))  # theirs gives up where p is 1 by necessity
    theirs = stats.ks_2samp(a, b, method="exact")
    assert found.statistic == pytest.approx(theirs.statistic, abs=1e-12)
    assert found.pvalue == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.log10_pvalue == pytest.approx(math.log10(theirs.pvalue), abs=1e-9)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 4), (3, 4), (2, 5), (1, 6), (4, 6)])
def test_p_is_the_share_of_all_orders_that_differ_as_much(n, m):
    def largest(first: tuple[int, ...]) -> int:
        steps = np.where(np.isin(np.arange(n + m), first), m, -n)
        return int(np.abs(np.cumsum(steps)).max())

    orders = [largest(first) for first in itertools.combinations(range(n + m), n)]
    for h in sorted(set(orders)):
        share = np.mean([other >= h for other in orders])
        assert math.exp(ks._log_p(n, m, h)) == pytest.approx(share, rel=1e-12)
        assert ks._log_share_touching(n, m, h) == pytest.approx(math.log(share), abs=1e-12)


@pytest.mark.parametrize("steps", [1, 5, 20, 60, 120])
def test_the_closed_form_and_the_count_of_paths_agree(steps):
    n = 120
    assert ks._log_p_equal(n, steps) == pytest.approx(math.log(ks._share_touching(n, n, steps * n)), abs=1e-10)
    assert ks._log_share_touching(n, n, steps * n) == pytest.approx(ks._log_p_equal(n, steps), abs=1e-9)


@given(samples, samples)
def test_monotone_maps_change_nothing_and_sides_may_be_swapped(a, b):
    plain = ks.kolmogorov_smirnov(a, b)
    assert ks.kolmogorov_smirnov(np.exp(a), np.exp(b)) == plain
    swapped = ks.kolmogorov_smirnov(b, a)
    assert swapped.statistic == plain.statistic
    assert swapped.log10_pvalue == pytest.approx(plain.log10_pvalue, abs=1e-12)


def test_the_smallest_difference_that_there_can_be_says_nothing():
    for n in (1, 7, 400):
        found = ks.kolmogorov_smirnov(np.zeros(n), np.arange(n) // (n - 1) if n > 1 else [1.0])
        assert found.statistic == pytest.approx(1 / n)
        assert found.pvalue == pytest.approx(1, abs=1e-12)


@settings(max_examples=10)
@given(samples)
def test_a_sample_against_itself(a):
    assert ks.kolmogorov_smirnov(a, a) == ks.KolmogorovSmirnov(0, 1, 0)


def test_beyond_ten_thousand_values_the_limit_takes_over():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=10_001), rng.normal(0.03, 1, size=12_000)
    theirs = stats.ks_2samp(a, b, method="asymp").pvalue
    assert ks.kolmogorov_smirnov(a, b).pvalue == pytest.approx(theirs, rel=0.05)
    apart = ks.kolmogorov_smirnov(np.arange(20_000), np.arange(20_000) + 20_000)
    assert apart.pvalue == 0
    assert apart.log10_pvalue == pytest.approx((math.log(2) - 20_000) / math.log(10))


@pytest.mark.parametrize("sides", [([], [1.0]), ([1.0], []), ([np.nan], [1.0])])
def test_missing_values_are_an_error(sides):
    with pytest.raises(InputError, match="values on both sides"):
        ks.kolmogorov_smirnov(*sides)


def log_choose(n: int, k: int) -> float:
    """From Python's exact integers."""
    return math.log(math.comb(n, k))


def log10_floor(n: int) -> float:
    """log10 of 2/C(2n, n)."""
    return (math.log(2) - log_choose(2 * n, n)) / math.log(10)
