from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ofmu.errors import InputError
from ofmu.evaluation import forget_quality as fq
from ofmu.evaluation.statistics import generator, number_clusters

AUTHORS = [f"author {index // 20}" for index in range(200)]


def log_ratios(shift: float = 0.0, seed: int = 0) -> np.ndarray:
    """Ten authors of twenty questions; questions and authors differ alike for all models."""
    shared = np.random.default_rng(0)
    common = np.repeat(shared.normal(0, 0.5, 10), 20) + shared.normal(0, 1, 200)
    return common + np.random.default_rng(seed).normal(shift, 0.05, 200)


def test_a_model_that_differs_is_told_apart():
    found = fq.forget_quality(log_ratios(2.0, seed=1), log_ratios(seed=2), AUTHORS, "test")
    theirs = stats.ks_2samp(log_ratios(2.0, seed=1), log_ratios(seed=2), method="exact")
    assert found.pvalue == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.statistic == pytest.approx(theirs.statistic)
    low, high = found.statistic_interval
    assert low <= found.statistic <= high
    assert found.difference.difference == pytest.approx(2, abs=0.05)
    assert found.difference.interval[0] > 1.9
    assert found.difference.pvalue == 2 / 2**10
    assert (found.n, found.difference.clusters) == (200, 10)
    assert found.equivalent is None  # one retrained model: its noise is unknown
    assert found.margin is None


def test_equivalence_needs_three_retrained_models_and_an_interval_within_their_spread():
    seeds = np.stack([log_ratios(shift, seed) for shift, seed in ((0.0, 2), (0.1, 3), (-0.1, 4))])
    near = fq.forget_quality(log_ratios(0.02, seed=1), seeds, AUTHORS, "test")
    assert near.margin == pytest.approx(0.2, abs=0.03)
    assert near.equivalent is True
    far = fq.forget_quality(log_ratios(1.0, seed=1), seeds, AUTHORS, "test")
    assert far.equivalent is False
    assert fq.forget_quality(log_ratios(0.02, seed=1), seeds[:2], AUTHORS, "test").equivalent is None


def test_two_authors_give_no_interval():
    found = fq.forget_quality(log_ratios(1.0)[:40], log_ratios(seed=1)[:40], AUTHORS[:40], "test")
    assert found.statistic_interval is None
    assert found.difference.interval is None
    assert found.difference.clusters == 2


def test_the_paired_bootstrap_is_the_statistic_of_resampled_authors():
    u, r, clusters = log_ratios(0.3, seed=1), log_ratios(seed=2), number_clusters(AUTHORS)
    u[:7] = r[:7] = 0.5  # ties within and across
    draws = fq.bootstrap_statistics(u, r, clusters, generator("a"), resamples=50)
    rng = generator("a")
    drawn = rng.integers(0, 10, size=(50, 10))
    for authors, found in zip(drawn, draws):
        rows = np.concatenate([np.flatnonzero(clusters == author) for author in authors])
        assert found == pytest.approx(stats.ks_2samp(u[rows], r[rows], method="asymp").statistic, abs=1e-12)


def test_the_retrained_model_against_itself():
    found = fq.forget_quality(log_ratios(), log_ratios(), AUTHORS, "test")
    assert (found.statistic, found.pvalue, found.log10_pvalue) == (0, 1, 0)
    assert found.statistic_interval == (0, 0)
    assert found.difference.difference == 0
    assert found.difference.pvalue == 1


def test_the_same_data_give_the_same_bytes():
    first, second = (fq.forget_quality(log_ratios(0.1, 1), log_ratios(), AUTHORS, "test", "data") for _ in range(2))
    assert first == second


def test_an_example_that_one_model_lacks_is_left_out_for_both():
    u = log_ratios(0.1, 1)
    u[3] = np.nan
    found = fq.forget_quality(u, log_ratios(), AUTHORS, "test")
    assert found.n == 199
    with pytest.raises(InputError, match="no example"):
        fq.forget_quality([np.nan], [1.0], ["a"], "test")
    with pytest.raises(InputError, match="do not pair"):
        fq.forget_quality([1.0, 2.0], [1.0], ["a"], "test")
