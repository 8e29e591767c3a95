from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.errors import InputError
from ofmu.evaluation import muse


def test_the_slope_of_the_worked_example():
    assert muse.slope_per_fold([40, 44, 45, 51]) == pytest.approx(3.4)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8))
def test_the_slope_is_that_of_least_squares(values):
    expected = np.polyfit(np.arange(1, len(values) + 1), values, 1)[0]
    assert muse.slope_per_fold(values) == pytest.approx(expected, abs=1e-9)


def test_a_slope_needs_two_folds():
    assert np.isnan(muse.slope_per_fold([1.0]))
    assert np.isnan(muse.slope_per_fold([1.0, np.nan]))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (" Paris", " Paris"),
        (" Paris\nin France", " Paris\nin France"),
        (" Paris\n\nMore", " Paris"),
        (" Paris\nQuestion: where", " Paris"),
        (" Paris Question: where", " Paris "),
        (" A Question: b\n\nc", " A "),
        ("Question: a", ""),
        ("", ""),
    ],
)
def test_answers_end_where_the_next_question_begins(said, kept):
    assert muse.cut_answer(said) == kept


def test_the_truth_is_as_long_as_the_generation_may_be():
    tokens = list(range(300))
    assert muse.cut_truth(tokens) == tokens[:128]
    assert muse.cut_truth(tokens, mode="parity:muse") == tokens[:127]  # their BOS is one of the 128
    assert muse.cut_truth(tokens, mode="parity:open_unlearning") == tokens
    assert muse.cut_truth(tokens[:5]) == tokens[:5]


def test_modes_differ_in_stemming_and_in_the_prompts_last_space():
    assert muse.memorisation("cats", "cat") == 0
    assert muse.memorisation("cats", "cat", "parity:muse") == 0
    assert muse.memorisation("cats", "cat", "parity:open_unlearning") == 100
    shots = [("Where?", "Here.")]
    assert muse.few_shot_prompt("Who?", shots) == "Question: Where?\nAnswer: Here.\n\nQuestion: Who?\nAnswer:"
    assert muse.few_shot_prompt("Who?", mode="parity:muse") == "Question: Who?\nAnswer: "
    with pytest.raises(InputError, match="unknown mode 'parity:must'"):
        muse.rules("parity:must")
