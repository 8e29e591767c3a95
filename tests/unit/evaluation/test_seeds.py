from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ofmu.errors import InputError
from ofmu.evaluation.seeds import bootstrap_over_seeds, over_seeds, within_retrain_noise
from ofmu.evaluation.statistics import bootstrap_means, generator


def test_mean_standard_deviation_and_t_interval():
    values = [0.61, 0.58, 0.66, 0.6, 0.63]
    found = over_seeds(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.interval == pytest.approx(stats.t.interval(0.95, 4, np.mean(values), stats.sem(values)))
    assert str(found) == "0.616 ± 0.03 (5 seeds)"


def test_a_single_seed_says_so_and_has_no_spread():
    found = over_seeds([0.5])
    assert (found.sd, found.interval) == (None, None)
    assert str(found) == "0.5 (single seed)"
    with pytest.raises(InputError, match="no run"):
        over_seeds([])
    assert math.isnan(over_seeds([1.0, math.nan]).mean)


def test_two_levels_add_the_variance_of_seeds_to_that_of_clusters():
    rng = np.random.default_rng(0)
    authors, seeds = rng.normal(0, 1, 40), rng.normal(0, 0.6, 30)
    values = authors + seeds[:, None]  # (S, n), every example a cluster of its own
    clusters = np.arange(40)
    draws = bootstrap_over_seeds(values, clusters, generator("a"))
    assert draws.mean() == pytest.approx(values.mean(), abs=0.02)
    assert draws.var() == pytest.approx(authors.var() / 40 + seeds.var() / 30, rel=0.05)


def test_one_seed_is_the_bootstrap_of_clusters():
    values, clusters = np.random.default_rng(1).normal(size=(1, 40)), np.arange(40) // 4
    draws = bootstrap_over_seeds(values, clusters, generator("a"))
    by_cluster = bootstrap_means(values, clusters, generator("b"))[0]
    assert draws.std() == pytest.approx(by_cluster.std(), rel=0.05)


def test_noise_between_retrained_models_is_the_yardstick():
    retrained = [0.50, 0.52, 0.54]  # SD .02
    assert within_retrain_noise(0.019, retrained) is True
    assert within_retrain_noise(-0.021, retrained) is False
    assert within_retrain_noise(0.001, retrained[:2]) is None
    assert within_retrain_noise(math.nan, retrained) is None
