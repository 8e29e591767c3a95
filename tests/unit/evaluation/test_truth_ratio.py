from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.errors import InputError
from ofmu.evaluation import truth_ratio as tr

losses = st.floats(0, 15)
answers = st.lists(losses, min_size=1, max_size=5)


def test_the_worked_example():
    log_ratio = tr.log_truth_ratio([2.0], [[3.0, 2.0, 4.0]])
    found = [np.exp(log_ratio), tr.closer(log_ratio), tr.true_better(log_ratio), tr.knowledge(log_ratio)]
    assert np.concatenate(found) == pytest.approx([0.3679, 0.3679, 0.6321, 0.7311], abs=5e-5)
    assert np.exp(tr.log_truth_ratio_arithmetic([2.0], [[3.0, 2.0, 4.0]])) == pytest.approx([0.5011], abs=5e-5)


def test_normalised_probability_of_the_worked_example():
    assert tr.normalised_probability([1.0], [[2.0, 2.0, 3.0]]) == pytest.approx([0.5344], abs=5e-5)


@given(losses, answers)
def test_all_forms_agree_with_the_plain_formulas(correct, wrong):
    p, q = math.exp(-correct), np.exp(-np.array(wrong))
    ratio = math.exp(-np.mean(wrong)) / p
    log_ratio = tr.log_truth_ratio([correct], [wrong])
    assert np.exp(log_ratio) == pytest.approx([ratio])
    assert np.exp(tr.log_truth_ratio_arithmetic([correct], [wrong])) == pytest.approx([q.mean() / p])
    assert tr.closer(log_ratio) == pytest.approx([min(ratio, 1 / ratio)])
    assert tr.true_better(log_ratio) == pytest.approx([max(0, 1 - ratio)], abs=1e-12)
    assert tr.knowledge(log_ratio) == pytest.approx([p / (p + math.exp(-np.mean(wrong)))])
    assert tr.normalised_probability([correct], [wrong]) == pytest.approx([p / (p + q.sum())])


@given(losses, answers)
def test_parity_is_near_where_no_model_has_collapsed(correct, wrong):
    ratio = tr.truth_ratio_open_unlearning([correct], [wrong])
    log_ratio = tr.log_truth_ratio([correct], [wrong])
    assert ratio == pytest.approx(np.exp(log_ratio), rel=1e-3)
    assert tr.closer_open_unlearning(ratio) == pytest.approx(tr.closer(log_ratio), rel=1e-2, abs=1e-6)
    assert tr.true_better_open_unlearning(ratio) == pytest.approx(tr.true_better(log_ratio), abs=1e-3)


def test_the_public_epsilon_decides_for_a_collapsed_model():
    assert tr.truth_ratio_open_unlearning([30.0], [[25.0]]) == pytest.approx([0.139], abs=5e-4)
    assert np.exp(tr.log_truth_ratio([30.0], [[25.0]])) == pytest.approx([148.4], abs=0.05)
    assert tr.normalised_probability_open_unlearning([40.0], [[40.0]]) == pytest.approx([0], abs=1e-6)
    assert tr.normalised_probability([4000.0], [[4000.0]]) == pytest.approx([0.5])


def test_extreme_losses_stay_finite_and_quiet():
    log_ratio = tr.log_truth_ratio([0.0, 5000.0], [[5000.0], [0.0]])
    assert tr.closer(log_ratio).tolist() == [0, 0]
    assert tr.true_better(log_ratio).tolist() == [1, 0]
    assert tr.knowledge(log_ratio).tolist() == [1, 0]
    assert tr.log_truth_ratio_arithmetic([1.0], [[5000.0, 5001.0]])[0] == pytest.approx(
        -4999 - math.log(2 / (1 + 1 / math.e))
    )


def test_several_paraphrases_are_averaged_and_rows_may_differ_in_length():
    found = tr.log_truth_ratio([[1.0, 3.0], [2.0]], [[4.0], [1.0, 2.0, 3.0]])
    assert found.tolist() == [-2, 0]
    array = tr.log_truth_ratio(np.array([2.0, 1.0]), np.array([[3.0, 1.0], [5.0, 7.0]]))
    assert array.tolist() == [0, -5]


def test_an_example_without_wrong_answers_has_no_ratio():
    for form in (tr.log_truth_ratio, tr.log_truth_ratio_arithmetic, tr.normalised_probability):
        found = form([1.0, 1.0], [[2.0], []])
        assert np.isfinite(found[0])
        assert np.isnan(found[1])
    with pytest.raises(InputError, match="2 examples have a correct answer and 1 wrong ones"):
        tr.log_truth_ratio([1.0, 2.0], [[1.0]])
