from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.errors import InputError
from ofmu.evaluation import attack_scores as ours

log_ps = st.lists(st.floats(-20, 0), min_size=1, max_size=30)


def test_min_k_of_the_worked_example():
    assert ours.min_k([-0.1, -2, -0.5, -3, -0.2], 0.4) == 2.5


@given(log_ps, st.sampled_from([0.1, 0.2, 0.4, 1.0]))
def test_min_k_is_the_mean_of_the_lowest(values, k):
    m = max(1, math.floor(k * len(values)))
    assert ours.min_k(values, k) == pytest.approx(-np.mean(sorted(values)[:m]))
    assert ours.min_k(values, 1.0) == pytest.approx(-np.mean(values))


def test_short_and_empty_texts():
    assert ours.min_k([-3.0]) == 3
    assert math.isnan(ours.min_k([]))  # to be excluded
    assert ours.min_k_open_unlearning([]) == 0  # the surest member, F3
    assert ours.min_k_open_unlearning([-3.0]) == 3
    assert math.isnan(ours.min_k_muse([-3.0, -2.0]))  # ⌊.8⌋ = 0, F16
    assert ours.min_k_muse([-3.0, -2.0, -1.0]) == 3


def test_min_k_plus_plus_of_the_worked_example():
    log_p = np.log([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05]])
    z = ours.standardised(log_p, [0, 1])
    assert z == pytest.approx([0.9228, -3.0], abs=5e-5)
    assert ours.min_k_plus_plus(z, 0.4) == pytest.approx(3.0, abs=5e-5)


def test_tokens_that_cannot_come_add_nothing():
    with np.errstate(divide="ignore"):
        log_p = np.log([[0.6, 0.4, 0.0]])
    assert ours.standardised(log_p, [1]) == pytest.approx(ours.standardised(log_p[:, :2], [1]))


def test_a_certain_prediction_has_a_floored_variance():
    assert ours.standardised(np.array([[0.0, -np.inf]]), [0]) == pytest.approx([0])


def test_zlib():
    text = "Zürich " * 20
    size = ours.zlib_bytes(text)
    assert size == len(zlib.compress(text.encode("utf-8"), level=-1))
    assert ours.zlib(1.5, 30) == pytest.approx(0.05)
    assert ours.zlib_total(8 * math.log(2), 1) == pytest.approx(1)
    assert ours.zlib_total([10.0], [size])[0] == pytest.approx(10 / (math.log(2) * 8 * size))


def test_privleak_of_the_worked_example():
    assert ours.privleak(0.9, 0.4) == pytest.approx(-83.33, abs=0.005)


@given(st.floats(0, 1), st.floats(0, 0.99))
def test_privleak_stays_in_its_range(unlearned, retrained):
    assert -100 - 1e-9 <= ours.privleak(unlearned, retrained) <= 100 * retrained / (1 - retrained) + 1e-9
    assert ours.privleak(retrained, retrained) == 0
    assert ours.privleak_open_unlearning(unlearned, retrained) == pytest.approx(
        ours.privleak(unlearned, retrained), rel=1e-6, abs=1e-6
    )


def test_privleak_without_a_retrained_model():
    assert math.isnan(ours.privleak(0.9, None))
    assert math.isnan(ours.privleak(0.9, 1.0))
    assert ours.privleak_open_unlearning(0.9, None) == pytest.approx(-80)  # one half under the same name, F8
    assert ours.privleak_muse(1 - 0.4772, "news") == pytest.approx(0)
    assert ours.privleak_muse(1.0, "books") == -100
    with pytest.raises(InputError, match="unknown MUSE corpus 'book'"):
        ours.privleak_muse(0.5, "book")
