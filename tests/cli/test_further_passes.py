"""`ofmu evaluate` with the passes that are asked for: answers, multiple choice, gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

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
    words = ["evaluate", "--model", str(wide), "--original", str(wide), "--retrained", str(wide), *flags]
    words += ["--abilities", f"quiz={choices}", "--generate", "--max-new-tokens", "3", "--gradient-norms"]
    assert main([*words, "--output", str(folder / "run"), "--device", "cpu", "--quiet"]) == 0
    found = json.loads((folder / "run/metrics.json").read_text())["scores"]
    return {(score["name"], score["role"]): score for score in found}


def test_answers_are_measured_on_what_was_asked_and_not_on_the_holdout(scores: dict[tuple[str, str], Any]):
    for name in ("forget_rougeL_recall", "retain_rougeL_f1", "forget_generated_tokens", "retain_cut"):
        assert scores[name, "unlearned"]["value"] is not None, name
    assert ("holdout_rougeL_recall", "unlearned") not in scores
    assert scores["forget_generated_tokens", "unlearned"]["value"] <= 3


def test_multiple_choice_is_answered_by_its_letters(scores: dict[tuple[str, str], Any]):
    score = scores["quiz_choice_accuracy", "unlearned"]
    assert score["n"] == 6  # the reporting half of twelve questions
    assert score["value"] * 6 == pytest.approx(round(score["value"] * 6))
    assert 0 < scores["quiz_prob_gold", "unlearned"]["value"] < 1
    parts = [part["name"] for part in scores["retention_gap", "unlearned"]["parts"]]
    assert parts == ["retain_probability", "retain_rougeL_recall", "quiz_choice_accuracy"]


def test_the_gradient_attack_is_made_on_request(scores: dict[tuple[str, str], Any]):
    assert 0 <= scores["mia_gradnorm", "unlearned"]["value"] <= 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("world facts=x.jsonl", "abilities: 'world facts=x.jsonl' is no NAME=FILE"),
        ("forget=x.jsonl", "other than forget, retain, holdout, test"),
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
