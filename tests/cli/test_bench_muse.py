"""`ofmu bench muse`: the real command on a tiny model and files of MUSE's layout."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toys import CITIES, facts, write_lines

from .command import Ended

Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def muse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the model knows as the forget side; both spellings of the places of files."""
    folder = tmp_path_factory.mktemp("muse")
    known = [{"question": row["question"], "answer": row["answer"]} for row in facts(range(9))]
    write_lines(folder / "knowmem_forget_qa.jsonl", known)
    write_lines(folder / "knowmem_forget_qa_icl.jsonl", known[:1])
    write_lines(folder / "knowmem_retain_qa.jsonl", [{"question": "Who?", "answer": "Nobody at all"}] * 3)
    texts = [f"Question: {row['question']} Answer: {row['answer']}" for row in known]
    (folder / "privleak").mkdir()
    (folder / "privleak" / "forget.json").write_text(json.dumps(texts))
    (folder / "privleak" / "holdout.json").write_text(json.dumps([f"{c} was a town of {c[::-1]}." for c in CITIES]))
    write_lines(folder / "verbmem_forget.jsonl", [{"prompt": text[:20], "gt": text[20:]} for text in texts])
    return folder


def table(found: dict[str, Any], title: str) -> list[dict[str, Any]]:
    return found["tables"][title]


def test_six_ways_in_two_modes_with_folds_and_slopes(ofmu: Command, wide: Path, muse: Path, tmp_path: Path):
    folds = [word for way in ("--scal", "--sust") for _ in range(3) for word in (way, f"mine={wide}")][:10]
    words = ["bench", "muse", "--data", muse, "--model", f"mine={wide}", "--retrained", wide, "--limit", 2, *folds]
    words += ["--mode", "correct", "--mode", "parity:muse", "--corpus", "news", "--output", tmp_path / "out"]
    ended = ofmu(*words, "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    found = ended.object
    assert set(found["tables"]) == {
        f"{title} ({mode})"
        for title in ("criteria 1 to 4", "scalability", "sustainability")
        for mode in ("correct", "parity:muse")
    }
    retrained, mine = table(found, "criteria 1 to 4 (correct)")
    assert (retrained["model"], mine["model"]) == ("retrained", "mine")
    assert mine["privleak"] == pytest.approx(0)  # the same model as "retrained"
    assert mine["auc_gap"] == 0
    assert 0 <= mine["verbmem"] <= 100
    assert mine["verbmem_n"] == 2
    published = table(found, "criteria 1 to 4 (parity:muse)")[1]
    assert published["privleak"] == pytest.approx(100 * ((1 - mine["auc"]) - 0.4772) / 0.4772)
    rows = table(found, "scalability (correct)")
    assert [row["fold"] for row in rows] == [1, 2, 3, "slope per fold"]
    assert [rows[-1][name] for name in ("verbmem", "forget_knowmem", "retain_knowmem")] == pytest.approx([0, 0, 0])
    rows = table(found, "sustainability (correct)")  # as many requests as were given, each a model of its own
    assert [row["fold"] for row in rows] == [1, 2, "slope per fold"]
    assert [row["verbmem"] for row in rows[:2]] == [mine["verbmem"]] * 2
    assert rows[-1]["forget_knowmem"] == pytest.approx(0)
    with (tmp_path / "out/sustainability-correct.csv").open() as file:
        assert [row["fold"] for row in csv.DictReader(file)] == ["1", "2", "slope per fold"]
    with (tmp_path / "out/scalability-correct.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    again = ofmu(*words)
    assert (again.code, again.line.endswith("is not empty; give a new folder")) == (2, True)


def test_what_is_missing_says_why_and_the_public_questions_are_read(ofmu: Command, wide: Path, data_dir: Path):
    folder = data_dir / "formats" / "muse-news-sample"
    ended = ofmu("bench", "muse", "--data", folder, "--model", wide, "--limit", 2, "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    assert "no file verbmem_forget.jsonl" in ended.object["missing"]["verbmem"]
    assert "no file privleak_forget.jsonl" in ended.object["missing"]["privleak"]
    (row,) = table(ended.object, "criteria 1 to 4 (correct)")
    assert row["verbmem"] is None
    assert row["privleak"] is None
    assert 0 <= row["forget_knowmem"] <= 100


def test_without_a_retrained_model_only_one_public_mode_has_a_privacy_leakage(
    ofmu: Command, wide: Path, muse: Path, tmp_path: Path
):
    for name in ("forget", "holdout"):
        (tmp_path / f"privleak_{name}.json").write_text((muse / "privleak" / f"{name}.json").read_text())
    words = ["bench", "muse", "--data", tmp_path, "--model", wide, "--mode", "correct"]
    ended = ofmu(*words, "--mode", "parity:open_unlearning", "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    assert "no retrained model" in ended.object["missing"]["privleak"]
    (correct,) = table(ended.object, "criteria 1 to 4 (correct)")
    (public,) = table(ended.object, "criteria 1 to 4 (parity:open_unlearning)")
    assert correct["privleak"] is None
    assert public["privleak"] == pytest.approx(100 * (0.5 - correct["auc"]) / 0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is no model to measure"),
        (["--model", "a=x", "--model", "a=y"], "two models are called 'a'"),
        (["--model", "a=x"], "--data is not given"),
        (["--model", "a=x", "--data", "nowhere"], "nowhere is no folder"),
        (["--model", "a=x", "--data", Path(__file__).parent], "holds no file of MUSE"),
        (["--scal", "x"], "--scal x: give a name"),
        (["--model", "a=x", "--corpus", "news"], "add --mode parity:muse"),
        (["--model", "a=x", "--mode", "best"], "best"),
        (["--model", "../a=x"], "'../a' cannot be the name of a model"),
    ],
)
def test_rubbish_gets_one_line(ofmu: Command, words: list[Any], message: str):
    ended = ofmu("bench", "muse", *words)
    assert ended.code == 2
    assert message in ended.line


def test_rows_of_other_columns_are_refused_before_a_model_is_read(ofmu: Command, tmp_path: Path):
    write_lines(tmp_path / "verbmem_forget.jsonl", [{"prompt": "a", "truth": "b"}])
    out = tmp_path / "out"
    ended = ofmu("bench", "muse", "--data", tmp_path, "--model", "a=nowhere", "--output", out)
    assert ended.code == 2
    assert "row 0: no text in column 'gt' (it has prompt, truth)" in ended.line
    assert not out.exists()
