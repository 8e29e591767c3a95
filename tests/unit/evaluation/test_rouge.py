from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofmu.evaluation.rouge import Rouge, longest_common_subsequence, rouge, words

vocabulary = ["the", "cats", "sat", "down", "Ran,", "running?", "1999", "Zürich", "née", "it's", "—"]
texts = st.lists(st.sampled_from(vocabulary), max_size=12).map(" ".join)
letters = st.lists(st.integers(0, 4), max_size=14)


def slow(first: Sequence[int], second: Sequence[int]) -> int:
    """The recursion of the definition."""

    @functools.cache
    def length(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return 0
        if first[i - 1] == second[j - 1]:
            return length(i - 1, j - 1) + 1
        return max(length(i - 1, j), length(i, j - 1))

    return length(len(first), len(second))


@given(letters, letters)
def test_longest_common_subsequence_is_that_of_the_definition(first, second):
    assert longest_common_subsequence(first, second) == slow(tuple(first), tuple(second))


def test_longest_common_subsequence_of_texts_longer_than_a_machine_word():
    rng = np.random.default_rng(0)
    for count in (63, 64, 65, 200):
        first, second = rng.integers(0, 30, size=(2, count)).tolist()
        table = np.zeros((count + 1, count + 1), dtype=int)
        for i in range(count):
            for j in range(count):
                match = first[i] == second[j]
                table[i + 1, j + 1] = table[i, j] + 1 if match else max(table[i, j + 1], table[i + 1, j])
        assert longest_common_subsequence(first, second) == table[-1, -1]


def test_the_worked_example():
    stemmed, plain = (astuple(rouge("the cats sat", "the cat sat down", stem=stem)) for stem in (True, False))
    assert stemmed == pytest.approx((1, 1, 0.75, 0.857), abs=5e-4)
    assert plain == pytest.approx((0.667, 0.667, 0.5, 0.571), abs=5e-4)


def test_recall_is_blind_to_what_else_was_said():
    found = rouge("Paris", "It is, I believe, the city of Paris")
    assert found.rougeL_recall == 1
    assert found.rougeL_f1 == pytest.approx(0.22, abs=0.005)


@pytest.mark.parametrize(("reference", "generation"), [("", "a"), ("a", ""), ("—", "a"), ("a", " \n"), ("", "")])
def test_a_side_without_words_scores_zero(reference, generation):
    assert rouge(reference, generation) == Rouge(0, 0, 0, 0)


def test_words_of_letters_beyond_ascii():
    assert words("Zürich", stem=False) == ["z", "rich"]
    assert words("ZÜRICH ﬁn", unicode=True) == ["zürich", "fin"]
    assert rouge("Zürich", "z rich").rougeL_f1 == 1
    assert rouge("Zürich", "z rich", unicode=True).rougeL_f1 == 0
    assert words("cats", unicode=True) == ["cats"]  # never stemmed


def test_only_words_longer_than_three_letters_are_stemmed():
    assert words("was cats") == ["was", "cat"]


def test_rouge1_counts_a_word_as_often_as_both_have_it():
    assert rouge("the the cat", "cat the").rouge1_recall == pytest.approx(2 / 3)
    assert rouge("the the cat", "cat the").rougeL_recall == pytest.approx(1 / 3)


@given(texts, texts, texts, st.booleans(), st.booleans())
def test_recall_never_falls_when_text_is_appended(reference, generation, more, stem, unicode):
    before, after = (rouge(reference, said, stem, unicode) for said in (generation, f"{generation} {more}"))
    assert after.rougeL_recall >= before.rougeL_recall
    assert after.rouge1_recall >= before.rouge1_recall


@given(texts, texts)
def test_in_any_order_is_easier_than_in_order(reference, generation):
    found = rouge(reference, generation)
    assert 0 <= found.rougeL_recall <= found.rouge1_recall <= 1
    assert min(found.rougeL_recall, found.rougeL_precision) <= found.rougeL_f1 + 1e-12


@settings(max_examples=20)
@given(texts)
def test_a_text_is_itself(text):
    assert rouge(text, text) == (Rouge(1, 1, 1, 1) if words(text) else Rouge(0, 0, 0, 0))


def test_1234_pairs_of_real_answers(data_dir: Path):
    with gzip.open(data_dir / "tofu" / "reference_eval_logs" / "rouge_pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 1234
    for row in rows:
        found = rouge(row["ground_truth"], row["generation"])
        for name in ("rouge1_recall", "rougeL_recall", "rougeL_f1"):
            assert getattr(found, name) == pytest.approx(row[name], abs=1e-12), (row["model"], row["index"], name)
