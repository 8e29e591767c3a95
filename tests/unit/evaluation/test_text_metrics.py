"""Metrics of text that read several columns or several forms of an answer: worked values, and slow references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.evaluation.evaluate import measure
from ofmu.evaluation.metric import Attack, SetMean
from ofmu.evaluation.metrics import find
from ofmu.evaluation.records import Records


def value(kind: str, record) -> np.ndarray:
    found = find(kind)
    made = found("forget") if issubclass(found, SetMean) else found()
    return made.values(record).values


def test_extraction_strength_of_the_worked_example(text_record):
    right = [True, False, True, True]  # predicted (5, 7, 2, 9), true (5, 6, 2, 9)
    record = text_record({"a": [0.1] * 4}, correct=right)
    assert value("exact_memorization", record).tolist() == [0.75]
    assert value("extraction_strength", record).tolist() == [0.5]
    assert value("extraction_strength", text_record({"a": [0.1] * 4}, correct=[True, True, True, False])).tolist() == [
        0
    ]


@given(st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8), min_size=1, max_size=5))
def test_extraction_strength_is_a_suffix_and_never_above_exact_memorisation(text_record, rows):
    losses = {str(index): [0.1] * len(row) for index, row in enumerate(rows)}
    right, content = zip(*(cell for row in rows for cell in row))
    record = text_record(losses, correct=list(right), content=list(content))
    found = find("extraction_strength")("forget").values(record)  # pyright: ignore[reportCallIssue]
    for index, row in enumerate(rows):
        own = [good for good, inside in row if inside]
        if not own:
            assert str(index) in found.excluded
            continue
        length = next((n for n, good in enumerate(reversed(own)) if not good), len(own))
        assert found.values[index] == length / len(own)
        assert found.values[index] <= np.mean(own)


def test_min_k_of_the_worked_example(text_record):
    record = text_record({"a": [0.1, 2.0, 0.5, 3.0, 0.2]})
    assert value("mia_min_k", record).tolist() == [2.5]


def test_min_k_plus_plus_takes_the_lowest_z(text_record):
    record = text_record({"a": [0.69, 3.0], "b": [0.1]}, z=[0.9228, -3.0, 1.5])
    assert value("mia_min_k_plus_plus", record).tolist() == [3.0, -1.5]


def test_an_example_without_content_is_excluded_from_min_k(text_record):
    record = text_record({"a": [0.5], "b": [0.5, 1.0]}, content=[False, True, True])
    for kind in ("mia_min_k", "mia_min_k_plus_plus"):
        found = find(kind)
        assert issubclass(found, Attack)
        assert set(found().values(record).excluded) == {"a"}


def test_zlib_divides_by_the_compressed_size(text_record):
    record = text_record({"a": [2.0, 4.0]}, facts={"zlib_bytes": np.array([60.0])})
    assert value("mia_zlib", record).tolist() == [0.05]
    assert value("mia_zlib_total", record) == pytest.approx([6 / (math.log(2) * 8 * 60)])  # whole over whole


@pytest.fixture
def facts(text_record) -> Records:
    """λ of the answers 1 (in other words 2), wrong ones 3, 2, 4: the worked examples of METRICS.md §§2.2, 2.3."""
    records = Records()
    for role, shift in (("original", 0.0), ("unlearned", 1.0)):
        for on in ("forget", "world_facts"):
            names = [str(index) for index in range(8)]
            made = {
                on: {name: [1.0 + shift] for name in names},
                f"{on}-paraphrased": {f"{name}#0": [2.0] for name in names},
                f"{on}-wrong": {f"{name}#{k}": [loss] for name in names for k, loss in enumerate((3.0, 2.0, 4.0))},
            }
            for set_name, losses in made.items():
                clusters = tuple(name.split("#")[0] for name in losses)
                records.add(role, set_name, text_record(losses, clusters=clusters, data=set_name))
    return records


def test_truth_ratio_of_the_worked_example(facts):
    found = {name: each.scores["original"].value for name, each in measure(facts).items()}
    assert found["forget_truth_ratio"] == pytest.approx(0.3679, abs=5e-5)
    assert found["world_facts_truth_ratio"] == pytest.approx(0.6321, abs=5e-5)
    assert found["forget_truth_ratio_knowledge"] == pytest.approx(0.7311, abs=5e-5)
    assert found["forget_paraphrase_probability"] == pytest.approx(np.exp(-2))
    assert found["forget_wrong_probability"] == pytest.approx(np.mean(np.exp([-3, -2, -4])))
    assert found["forget_normalised_probability"] == pytest.approx(1 / (1 + np.exp([-2, -1, -3]).sum()))


def test_normalised_probability_of_the_worked_example(text_record):
    records = Records({("original", "forget"): text_record({"a": [1.0]})})
    wrong = text_record({f"a#{k}": [loss] for k, loss in enumerate((2.0, 2.0, 3.0))}, clusters=("a",) * 3)
    records.add("original", "forget-wrong", wrong)
    score = measure(records)["forget_normalised_probability"].scores["original"]
    assert score.value == pytest.approx(0.5344, abs=5e-5)


def test_views_are_halved_by_their_examples(facts):
    halves = {"forget-wrong": {str(index): "report" if index < 5 else "steer" for index in range(8)}}
    score = measure(facts, halves=halves)["forget_truth_ratio"].scores["unlearned"]
    assert (score.n, score.half) == (5, "report")


def test_an_example_without_wrong_answers_is_excluded(text_record):
    records = Records({("original", "forget"): text_record({"a": [1.0], "b": [1.0]})})
    records.add("original", "forget-wrong", text_record({"a#0": [2.0]}, clusters=("a",)))
    score = measure(records)["forget_truth_ratio"].scores["original"]
    assert score.n == 1
    assert list(score.excluded) == ["b"]


def test_facts_of_a_further_pass_make_their_metrics_appear(text_record):
    plain = Records({("original", "forget"): text_record({"a": [1.0]})})
    assert "forget_rougeL_recall" not in measure(plain)
    facts = {"zlib_bytes": np.ones(2), "rougeL_recall": np.array([0.5, np.nan])}
    known = Records({("original", "forget"): text_record({"a": [1.0], "b": [1.0]}, facts=facts)})
    score = measure(known)["forget_rougeL_recall"].scores["original"]
    assert (score.value, score.n, list(score.excluded)) == (0.5, 1, ["b"])


def test_the_reference_attack_subtracts_the_base_models_loss(text_record):
    losses = {
        "forget": {"original": [1.0, 4.0], "base": [3.0, 5.0]},
        "holdout": {"original": [2.0, 4.5], "base": [2.0, 3.0]},
    }
    records = Records(
        {
            (role, on): text_record({str(i): [value] for i, value in enumerate(values)}, model=role, data=on)
            for on, by_role in losses.items()
            for role, values in by_role.items()
        }
    )
    found = measure(records)["mia_reference"].scores
    assert set(found) >= {"original"}
    assert found["original"].value == 1.0  # −2, −1 against 0, 1.5; the plain loss attack has three pairs of four
    assert found["original"].against == "base"  # the fingerprint of the model that it is relative to
    assert measure(records)["mia_loss"].scores["original"].value == 0.75
    assert measure(records)["mia_loss"].scores["original"].against is None
    assert "mia_reference" not in measure(Records({("original", "forget"): records["original", "forget"]}))
