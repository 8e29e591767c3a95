from __future__ import annotations

import numpy as np
import pytest

from ofmu.errors import InputError
from ofmu.evaluation.answers import FACTS, answer_facts, judged, with_generations
from ofmu.evaluation.generation import Generations, Sampling
from ofmu.evaluation.leak import leak_at_k
from ofmu.evaluation.record import Record
from toys import tokenizer

IDS = ("a", "b", "c")
TRUE = ("the cats sat", "Paris", "a b c d a b c d")


def said(texts: list[list[str]], cut=None, broken=None) -> Generations:
    shape = (len(texts), len(texts[0]))
    tokens = tuple(
        tuple(np.array(tokenizer()(text, add_special_tokens=False)["input_ids"], np.int32) for text in row)
        for row in texts
    )
    none = np.zeros(shape, dtype=bool)
    return Generations(
        ids=IDS[: len(texts)],
        clusters=IDS[: len(texts)],
        tokens=tokens,
        cut=none if cut is None else np.array(cut),
        broken=none if broken is None else np.array(broken),
        max_new_tokens=50,
        sampling=None if shape[1] == 1 else Sampling(n=shape[1]),
    )


def test_facts_of_answers():
    answers = said([[" the cat sat down"], [" \n"], [TRUE[2]]], cut=[[False], [True], [False]])
    facts = answer_facts(answers, TRUE, tokenizer())
    assert tuple(facts.columns) == FACTS
    assert facts.columns["rouge1_recall"].tolist() == [1, 0, 1]
    assert facts.columns["rougeL_recall"].tolist() == [1, 0, 1]
    assert facts.columns["rougeL_f1"] == pytest.approx([0.857, 0, 1], abs=5e-4)
    assert facts.columns["rougeL_recall_unicode"] == pytest.approx([2 / 3, 0, 1])  # "cats" is no "cat" there
    assert facts.columns["rougeL_f1_unicode"] == pytest.approx([0.571, 0, 1], abs=5e-4)
    assert facts.columns["generated_tokens"].tolist() == [len(row[0]) for row in answers.tokens]
    assert facts.columns["cut"].tolist() == [0, 1, 0]
    assert facts.columns["empty"].tolist() == [0, 1, 0]
    assert np.isnan(facts.columns["rep4"][1])  # nothing that could be repeated
    assert facts.columns["rep4"][2] > 0
    plain = answer_facts(answers, TRUE, tokenizer(), stem=False)
    assert plain.columns["rougeL_f1"] == pytest.approx([0.571, 0, 1], abs=5e-4)


def test_an_answer_of_broken_logits_counts_as_nothing():
    facts = answer_facts(said([[" Paris"], [" Paris"], [" x"]], broken=[[False], [True], [False]]), TRUE, tokenizer())
    assert all(np.isinf(column[1]) for column in facts.columns.values())
    assert np.isfinite(facts.columns["rougeL_recall"][[0, 2]]).all()


def test_a_record_gets_the_facts_by_id():
    record = Record(
        modality="text",
        ids=("c", "new", "a"),
        clusters=("c", "new", "a"),
        example=np.arange(3),
        columns={
            "position": np.zeros(3, np.int32),
            "nll": np.zeros(3),
            "z": np.zeros(3),
            "correct": np.ones(3, bool),
            "content": np.ones(3, bool),
        },
        facts={"zlib_bytes": np.array([1.0, 2.0, 3.0])},
    )
    facts = answer_facts(said([[" the cat sat down"], [" Rome"], [" a b"]]), TRUE, tokenizer())
    joined = with_generations(record, facts)
    assert joined.facts["rougeL_recall"] == pytest.approx([0.25, np.nan, 1], nan_ok=True)
    assert joined.facts["zlib_bytes"].tolist() == [1, 2, 3]
    assert "cut" not in record.facts
    with pytest.raises(InputError, match="none of 3 examples"):
        with_generations(record, type(facts)(("x",), {"cut": np.zeros(1)}))


def test_samples_are_judged():
    texts = [["the cats sat", "the dogs ran", "no", "cats sat"], ["Rome", "Oslo", "Bern", "Paris"]]
    found = judged(said(texts), TRUE[:2], tokenizer())
    assert found.scores == pytest.approx(np.array([[1, 1 / 3, 0, 2 / 3], [0, 0, 0, 1]]))
    assert (found.n, found.successes.tolist()) == (4, [2, 1])
    assert leak_at_k(found.successes, found.n, 2) == pytest.approx([1 - 1 / 6, 0.5])
    exact = judged(said(texts), TRUE[:2], tokenizer(), judge=lambda true, text: float(true == text), threshold=1)
    assert exact.successes.tolist() == [1, 1]


def test_what_cannot_be_judged_is_no_clean_sample():
    with pytest.raises(InputError, match="no score"):
        judged(said([["a", "b"]]), ["x"], tokenizer(), judge=lambda *_: float("nan"))
    with pytest.raises(InputError, match="not finite"):
        judged(said([["a", "b"]], broken=[[False, True]]), ["x"], tokenizer())
    with pytest.raises(InputError, match="1 generations cannot be compared with 2"):
        judged(said([["a", "b"]]), ["x", "y"], tokenizer())
