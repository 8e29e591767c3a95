from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.errors import InputError
from ofmu.evaluation.multiple_choice import multiple_choice, permutation_accuracy, shifted_options

GOLD = np.array([1, 0, 3, 2, 1])


def test_the_worked_example():
    found = multiple_choice([[-2.1, -1.7, -1.7, -3.0]], [1])
    assert found.choices.tolist() == [1]  # a tie goes to the lowest letter
    assert found.accuracy == 1
    assert found.prob_gold == pytest.approx([0.340], abs=5e-4)


def test_accuracy_its_error_and_the_balance_of_letters():
    log_p = np.log(np.full((4, 4), 0.1) + 0.6 * np.eye(4)[[0, 0, 2, 1]])
    found = multiple_choice(log_p, [0, 1, 2, 3])
    assert found.correct.tolist() == [1, 0, 1, 0]
    assert found.accuracy == 0.5
    assert found.standard_error == 0.25
    assert found.letter_balance.tolist() == [0.5, 0.25, 0.25, 0]
    assert found.prob_gold == pytest.approx([0.7, 0.1, 0.7, 0.1])


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_a_collapsed_model_fails_instead_of_choosing_a(value):
    log_p = np.zeros((3, 4))
    log_p[1] = value
    with pytest.raises(InputError, match="1 questions have a log-likelihood that is not finite; the first is 1"):
        multiple_choice(log_p, [0, 0, 0])


@pytest.mark.parametrize(("shape", "gold"), [((2, 4), [0]), ((4,), [0]), ((0, 4), []), ((1, 4), [4]), ((1, 4), [-1])])
def test_what_cannot_be_scored_is_an_error(shape, gold):
    with pytest.raises(InputError):
        multiple_choice(np.zeros(shape), gold)


@given(st.permutations(range(4)), st.integers(0, 3))
def test_shifts_move_every_option_on(options, shift):
    moved = shifted_options(list(options), shift)
    assert [moved[(letter + shift) % 4] for letter in range(4)] == list(options)


def test_a_model_that_knows_is_right_in_every_order():
    told = np.stack([np.eye(4)[(GOLD + shift) % 4] for shift in range(4)])
    assert permutation_accuracy(told, GOLD).tolist() == [1] * 5


def test_a_model_that_always_says_a_is_right_once_in_four():
    always_a = np.tile([0.0, -1, -1, -1], (4, 5, 1))
    assert permutation_accuracy(always_a, GOLD).tolist() == [0.25] * 5


def test_every_shift_is_needed():
    with pytest.raises(InputError, match="cyclic permutations need"):
        permutation_accuracy(np.zeros((3, 5, 4)), GOLD)
