"""KLoM: the worked example, the public fault, its null, and a slow reference bin by bin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.evaluation.klom import against_null, klom, klom_normal, summary
from ofmu.evaluation.phi import phi

PARITY = "parity:data_unlearning_bench"


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def normals(rng: np.random.Generator, models: int, points: int = 2000) -> np.ndarray:
    return rng.normal(size=(models, points))


def slow(p: np.ndarray, q: np.ndarray, bins: int) -> float:
    """One point at a time with numpy's own histogram, which closes the right edge."""
    p, q = np.clip(p, -100, 100), np.clip(q, -100, 100)
    low, high = min(p.min(), q.min()), max(p.max(), q.max())
    if low == high:
        return 0.0
    shares = [np.histogram(group, bins=np.linspace(low, high, bins + 1))[0] / len(group) for group in (p, q)]
    floored = [max(b, 1e-5) if a > 0 else b for a, b in zip(*shares)]
    return sum(a * math.log(a / (b / sum(floored))) for a, b in zip(shares[0], floored) if a > 0)


def test_the_worked_example():
    p, q = column(0, 0, 1, 1), column(0, 1, 1, 1)
    assert klom(p, q, bins=2)[0] == pytest.approx(0.1438, abs=5e-5)
    assert klom(p, q, bins=2)[0] == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))


def test_parity_drops_the_pooled_maximum():
    assert klom(column(0, 0, 1, 1), column(0, 1, 1, 1), bins=2, mode=PARITY)[0] == 0
    assert klom(column(0, 1), column(0, 0), mode=PARITY)[0] == 0
    assert np.isnan(klom(column(1, 1), column(0, 1), mode=PARITY)[0])
    assert klom(column(0, 1), column(0, 0))[0] > 4  # the closed edge sees the oracle that the floor pays for


def test_points_that_do_not_vary_have_no_distance_and_nan_stays():
    assert klom(column(3, 3), column(3, 3)).tolist() == [0.0]
    assert klom(column(150, 150), column(100, 200)).tolist() == [0.0]  # clipped to ±100
    assert np.isnan(klom(column(0, np.nan), column(0, 1))[0])


@given(
    st.lists(st.floats(-150, 150), min_size=2, max_size=12),
    st.lists(st.floats(-150, 150), min_size=2, max_size=12),
    st.integers(1, 20),
)
def test_equal_to_the_slow_reference(p, q, bins):
    assert klom(column(*p), column(*q), bins=bins)[0] == pytest.approx(slow(np.array(p), np.array(q), bins), abs=1e-9)


@pytest.mark.parametrize(("models", "mean", "q95"), [(100, 0.35, 0.66), (50, 0.89, None)])
def test_equal_distributions_are_far_from_zero_and_the_more_so_the_fewer_the_models(models, mean, q95):
    rng = np.random.default_rng(0)
    found = summary(klom(normals(rng, models), normals(rng, models)))
    assert found["mean"] == pytest.approx(mean, abs=0.03)
    if q95 is not None:
        assert found["q95"] == pytest.approx(q95, abs=0.04)


def test_the_excess_over_the_null_is_zero_for_equal_distributions_and_not_for_others():
    rng = np.random.default_rng(1)
    oracles = normals(rng, 60)
    same = against_null(oracles, normals(rng, 40))
    far = against_null(oracles, normals(rng, 40) + 1.0)
    assert same.models == far.models == 30
    facts = same.as_dict()
    assert facts["klom_excess"]["mean"] == pytest.approx(0, abs=0.05)
    assert facts["normal_excess"]["median"] == pytest.approx(0, abs=0.02)
    low, high = facts["klom_excess_interval"]
    assert low <= facts["klom_excess"]["mean"] <= high
    assert far.as_dict()["klom_excess"]["mean"] > 1
    assert far.as_dict()["normal_excess"]["mean"] > 0.3


def test_too_few_models_or_other_points_are_refused():
    with pytest.raises(ValueError, match="at least 4 oracles"):
        against_null(np.zeros((3, 5)), np.zeros((2, 5)))
    with pytest.raises(ValueError, match="the same points"):
        against_null(np.zeros((4, 5)), np.zeros((2, 6)))


def test_the_twin_is_the_closed_form_and_has_a_limit_where_nothing_varies():
    rng = np.random.default_rng(2)
    p, q = rng.normal(1, 2, 50), rng.normal(0, 3, 70)
    m_p, m_q, s_p, s_q = p.mean(), q.mean(), p.std(ddof=1), q.std(ddof=1)
    expected = math.log(s_q / s_p) + (s_p**2 + (m_p - m_q) ** 2) / (2 * s_q**2) - 0.5
    assert klom_normal(p[:, None], q[:, None])[0] == pytest.approx(expected)
    assert klom_normal(p[:, None], p[:, None])[0] == 0
    assert klom_normal(column(1, 1), column(1, 1))[0] == 0
    assert klom_normal(column(1, 1), column(1, 2))[0] == np.inf
    assert np.isnan(summary(np.array([1.0, np.inf]))["median"])


def test_summaries_are_quantiles_over_points():
    found = summary(np.arange(101.0))
    assert found == {"mean": 50.0, "median": 50.0, "q95": 95.0, "q99": 99.0}


def test_phi_is_the_margin_of_an_image_and_minus_the_loss_of_a_text(image_record, text_record):
    image = image_record([[math.log(0.7), math.log(0.2), math.log(0.1)]], [0])
    assert phi(image)[0] == pytest.approx(0.8473, abs=5e-5)
    assert phi(text_record({"a": [1.0, 3.0]})).tolist() == [-2.0]
