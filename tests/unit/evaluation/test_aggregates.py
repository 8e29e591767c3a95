from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hmean

from ofmu.errors import InputError
from ofmu.evaluation import aggregates as ours

NINE = (0.99, 0.98, 0.47, 0.43, 0.92, 0.57, 0.41, 0.90, 0.54)


def test_the_worked_example():
    assert ours.harmonic_mean(NINE) == pytest.approx(0.6111, abs=5e-5)
    assert ours.model_utility(dict(zip(ours.UTILITY_PARTS, NINE))) == ours.harmonic_mean(NINE)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=9))
def test_harmonic_mean_is_scipys(values):
    assert ours.harmonic_mean(values) == pytest.approx(hmean(values), rel=1e-12)


def test_zero_and_missing():
    assert ours.harmonic_mean([0.5, 0.0]) == 0
    assert math.isnan(ours.harmonic_mean([0.5, math.nan]))
    assert math.isnan(ours.harmonic_mean([0.0, math.nan]))  # missing is not zero
    assert math.isnan(ours.harmonic_mean([]))
    with pytest.raises(InputError, match=r"found -0\.1"):
        ours.harmonic_mean([0.5, -0.1])


def test_model_utility_needs_its_nine():
    parts = dict(zip(ours.UTILITY_PARTS, NINE))
    del parts["world_facts_truth_ratio"]
    assert math.isnan(ours.model_utility(parts))
    with pytest.raises(InputError, match="did you mean 'retain_probability'"):
        ours.model_utility({"retain_probabilty": 0.5})


def test_similarity_of_the_worked_example():
    found = [ours.auc_similarity(a, 0.3874) for a in (0.9965, 0.5, 0.3874, 0.0)]
    assert found == pytest.approx([0.006, 0.816, 1, 0.368], abs=5e-4)
    assert ours.auc_similarity_public(0.9965, 0.3874) == 0  # 1 − 1.57, clipped
    assert ours.auc_similarity_public(0.5, 0.3874) == pytest.approx(0.7093, abs=5e-5)
    assert math.isnan(ours.auc_similarity_public(0.5, 0.0))


@given(st.floats(0, 1), st.floats(0, 1))
def test_similarity_needs_no_clipping(unlearned, retrained):
    assert 0 <= ours.auc_similarity(unlearned, retrained) <= 1
    assert ours.auc_similarity(retrained, retrained) == 1


def test_missing_parts_reach_the_top():
    assert math.isnan(ours.auc_similarity(math.nan, 0.5))
    assert math.isnan(ours.auc_similarity_public(0.5, math.nan))
    memorization = ours.memorization(0.1, 0.5, 0.2, math.nan)
    assert math.isnan(ours.overall(memorization, ours.privacy([1.0]), ours.utility(0.6, 0.9)))


def test_composition():
    assert ours.memorization(0.1, 0.5, 0.2, 0.6) == pytest.approx(hmean([0.9, 0.5, 0.8, 0.4]))
    assert ours.privacy(np.array([0.2, 0.4, 0.5, 1.0])) == pytest.approx(hmean([0.2, 0.4, 0.5, 1.0]))
    assert ours.utility(0.6, 0.9) == pytest.approx(0.72)
    assert ours.overall(0.5, 0.5, 1.0) == pytest.approx(0.6)
    assert ours.memorization(1.0, 1.0, 0.9, 0.9) == 0
