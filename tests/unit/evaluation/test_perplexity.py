from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.errors import InputError
from ofmu.evaluation.perplexity import bits_per_byte, perplexity, windows


def test_the_worked_example():
    found = perplexity([2 * 1.0, 8 * 2.0], [2, 8])
    assert found.ppl == pytest.approx(6.050, abs=5e-4)
    assert found.ppl_doc == pytest.approx(5.054, abs=5e-4)
    assert found.loss == pytest.approx(1.8)
    assert found.loss_doc == pytest.approx(1.5)


def test_where_the_exponential_overflows_the_loss_is_reported():
    found = perplexity([1.0, 8000.0], [10, 10])
    assert found.ppl == pytest.approx(math.exp(400.05))
    assert found.ppl_doc is None
    assert perplexity([8000.0], [10]).ppl is None
    assert perplexity([8000.0], [10]).loss == 800


def test_a_document_without_scored_tokens_is_an_error():
    for losses, tokens in (([], []), ([1.0, 0.0], [3, 0])):
        with pytest.raises(InputError, match="at least one scored token"):
            perplexity(losses, tokens)


def test_bits_per_byte():
    assert bits_per_byte([8 * math.log(2), 0.0], [3, 1]) == pytest.approx(2)
    assert math.isnan(bits_per_byte([], []))


@given(st.integers(0, 300), st.integers(2, 64))
def test_windows_score_every_token_but_the_first_once_with_half_a_context_before_it(length, context):
    plan = windows(length, context)
    scored = [(token, window) for window in plan for token in range(window.first_scored, window.end)]
    assert [token for token, _ in scored] == list(range(1, length))
    for token, window in scored:
        assert 0 <= window.start < window.first_scored
        assert window.end - window.start <= context
        assert token - window.start >= min(token, context // 2)
    assert all(later.start - earlier.start == context // 2 for earlier, later in itertools.pairwise(plan))


def test_a_short_text_is_one_window():
    assert [(w.start, w.end, w.first_scored) for w in windows(5, 8)] == [(0, 5, 1)]
    assert windows(1, 8) == []


def test_a_context_of_one_token_is_an_error():
    with pytest.raises(InputError, match="at least 2"):
        windows(10, 1)
