"""`ofmu evaluate` with the passes that are asked for: answers, multiple choice, gradients."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ofmu.evaluation.record import Record
from toys import convnet

from .command import Command, facts, write_lines


@pytest.fixture(scope="module")
def scores(wide: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """(name, role) → score of one evaluation with everything."""
    from ofmu.cli.main import main

    folder = tmp_path_factory.mktemp("further")
    sets = {"forget": range(4), "retain": range(4, 14), "holdout": range(14, 20)}
    flags: list[str] = []
    for name, numbers in sets.items():
        flags += [f"--{name}", str(write_lines(folder / f"{name}.jsonl", facts(numbers)))]
    asked = [{"question": f"Which is {k}?", "choices": ["a", "b", "c", "d"], "answer": k % 4} for k in range(12)]
    choices = write_lines(folder / "choices.jsonl", asked)
    words = ["evaluate", "--model", str(wide), "--original", str(wide), "--retrained", str(wide)]
    words += [*flags, "--base", str(wide)]
    words += ["--abilities", f"quiz={choices}", "--generate", "--max-new-tokens", "3", "--gradient-norms"]
    assert main([*words, "--output", str(folder / "run"), "--device", "cpu", "--quiet"]) == 0
    found = json.loads((folder / "run/metrics.json").read_text())["scores"]
    return {(score["name"], score["role"]): score for score in found}


def test_answers_are_measured_on_what_was_asked_and_not_on_the_holdout(scores: dict[tuple[str, str], Any]):
    for name in ("forget_rougeL_recall", "retain_rougeL_f1_unicode", "forget_generated_tokens", "retain_cut"):
        assert scores[name, "unlearned"]["value"] is not None, name
    assert ("holdout_rougeL_recall", "unlearned") not in scores
    assert scores["forget_generated_tokens", "unlearned"]["value"] <= 3


def test_the_base_model_reads_every_model_s_answers(scores: dict[tuple[str, str], Any]):
    said = {role: scores["forget_ref_nll", role]["value"] for role in ("unlearned", "original", "retrained", "base")}
    assert 0 < said["base"] < 6
    assert len(set(said.values())) == 1  # all four are the same model
    assert scores["forget_ref_nll", "unlearned"]["direction"] == "as_retrained"
    assert scores["retain_ref_nll", "unlearned"]["n"] > 0
    assert ("holdout_ref_nll", "unlearned") not in scores


def test_multiple_choice_is_answered_by_its_letters(scores: dict[tuple[str, str], Any]):
    score = scores["quiz_choice_accuracy", "unlearned"]
    assert score["n"] == 6  # the reporting half of twelve questions
    assert score["value"] * 6 == pytest.approx(round(score["value"] * 6))
    assert 0 < scores["quiz_prob_gold", "unlearned"]["value"] < 1
    letters = [scores[f"quiz_letter_balance_{letter}", "unlearned"]["value"] for letter in "ABCD"]
    assert sum(letters) == pytest.approx(1)
    assert ("quiz_letter_balance_E", "unlearned") not in scores
    every = scores["quiz_permutation_accuracy", "unlearned"]["value"] * 24
    assert every == pytest.approx(round(every))
    parts = [part["name"] for part in scores["retention_gap", "unlearned"]["parts"]]
    assert parts == ["retain_probability", "retain_rougeL_recall", "quiz_choice_accuracy"]


def test_the_gradient_attack_is_made_on_request(scores: dict[tuple[str, str], Any]):
    assert 0 <= scores["mia_gradnorm", "unlearned"]["value"] <= 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("world facts=x.jsonl", "abilities: 'world facts=x.jsonl' is no NAME=FILE"),
        ("forget=x.jsonl", "other than forget, retain, holdout, test"),
        ("model=x.jsonl", "forget, retain, holdout, test, model"),  # the manifest has the model's own hash by that name
        ("quiz", "abilities: 'quiz' is no NAME=FILE"),
        ("quiz=nowhere.jsonl", "nowhere.jsonl"),
    ],
)
def test_an_ability_that_cannot_be_used_gets_one_line(
    ofmu: Command, model: Path, forget: Path, retain: Path, tmp_path: Path, given: str, message: str
):
    words = ["evaluate", "--model", model, "--forget", forget, "--retain", retain, "--abilities", given]
    ended = ofmu(*words, "--output", tmp_path / "run", "--device", "cpu")
    assert ended.code == 2
    assert message in ended.line
    assert not (tmp_path / "run").exists()


def test_a_pass_that_the_examples_do_not_allow_gets_one_line(
    ofmu: Command, model: Path, forget: Path, retain: Path, tmp_path: Path
):
    told = [write_lines(tmp_path / f"{n}.jsonl", [{"text": f"Clerk {n} lives in Oslo."}] * 2) for n in (1, 2)]
    cases = [
        (forget, retain, "--gradient-norms", "from the holdout; give --holdout"),
        (*told, "--generate", "texts without a prompt; leave it out"),
    ]
    for first, second, flag, message in cases:
        words = ["evaluate", "--model", model, "--forget", first, "--retain", second, flag, "--device", "cpu"]
        ended = ofmu(*words, "--output", tmp_path / "run")
        assert ended.code == 2
        assert message in ended.line
        assert not (tmp_path / "run").exists()


def test_a_model_that_cannot_be_given_the_same_examples_is_refused(
    ofmu: Command, model: Path, forget: Path, retain: Path, tmp_path: Path
):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    convnet().save_pretrained(tmp_path / "images")
    other = shutil.copytree(model, tmp_path / "other")
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2}, unk_token="<pad>"))
    again = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    again.save_pretrained(other)
    for place, message in ((tmp_path / "images", "is an image classifier, but"), (other, "has another tokenizer than")):
        given = ["evaluate", "--model", model, "--forget", forget, "--retain", retain, "--original", place]
        ended = ofmu(*given, "--output", tmp_path / "run", "--device", "cpu")
        assert ended.code == 2
        assert message in ended.line
        assert not (tmp_path / "run").exists()


def test_documents_are_read_whole_and_questions_are_none(ofmu: Command, model: Path, tmp_path: Path):
    long = " ".join(f"Clerk {n} lives in Oslo." for n in range(20))
    texts = {
        name: [{"text": f"{name} {n}. {long if n % 2 else 'Short.'}"} for n in range(10)]
        for name in ("forget", "retain")
    }
    words = ["evaluate", "--model", model, "--abilities", f"asked={write_lines(tmp_path / 'a.jsonl', facts(range(9)))}"]
    for name, rows in texts.items():
        words += [f"--{name}", write_lines(tmp_path / f"{name}.jsonl", rows)]
    ended = ofmu(*words, "--output", tmp_path / "run", "--device", "cpu")
    assert ended.code == 0, ended.err
    scores = {each["name"]: each for each in json.loads((tmp_path / "run/metrics.json").read_text())["scores"]}
    assert scores["retain_perplexity"]["value"] > 1
    assert scores["forget_bits_per_byte"]["direction"] == "as_retrained"
    assert "asked_perplexity" not in scores
    record = Record.from_parquet(tmp_path / "run/records/unlearned.forget.parquet")
    read, fitting = record.facts["document_tokens"], record.counts()
    for n in range(10):
        assert read[n] == fitting[n] if n % 2 == 0 else read[n] > 100 > fitting[n]  # the context is 48 tokens
    assert record.facts["document_nll"] / read == pytest.approx(record.means("nll"), rel=0.2)


def test_other_forms_of_one_person_s_answers_are_measured_whole(ofmu: Command, model: Path, tmp_path: Path):
    rows = [row | {"person": "one", "perturbed_answer": ["In Bonn."]} for row in facts(range(40, 44))]
    kept = [row | {"person": row["id"]} for row in facts(range(4, 14))]
    words = ["evaluate", "--model", model, "--forget", write_lines(tmp_path / "one.jsonl", rows)]
    words += ["--retain", write_lines(tmp_path / "kept.jsonl", kept)]
    ended = ofmu(*words, "--cluster-by", "person", "--output", tmp_path / "run", "--device", "cpu")
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "run/metrics.json").read_text())["scores"]
    (score,) = [each for each in found if each["name"] == "forget_truth_ratio"]
    assert (score["n"], score["half"]) == (4, "whole")
