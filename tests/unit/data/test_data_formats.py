"""Columns say what a row is; an explicit format wins; what is not used is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ofmu.data import Message, TextExample, TextExamples, read
from ofmu.data.views import asked_by


def one(row: dict[str, Any], **options: Any) -> TextExample:
    found = read([row], **options)
    assert isinstance(found, TextExamples)
    return found.examples[0]


USER = {"role": "user", "content": "u"}
HELPER = {"role": "assistant", "content": "a"}
SYSTEM = {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    ("row", "format", "prompt", "completion"),
    [
        ({"question": "q", "answer": "a"}, "question_answer", (Message("user", "q"),), "a"),
        ({"question": "q", "answer": 1472}, "question_answer", (Message("user", "q"),), "1472"),
        ({"prompt": "p ", "completion": "c"}, "prompt_completion", "p ", "c"),
        ({"prompt": "", "completion": "c"}, "prompt_completion", "", "c"),
        ({"prompt": [USER], "completion": [HELPER]}, "prompt_completion", (Message("user", "u"),), "a"),
        ({"prompt": [USER], "completion": "c"}, "prompt_completion", (Message("user", "u"),), "c"),
        ({"prompt": "p", "completion": [HELPER]}, "prompt_completion", (Message("user", "p"),), "a"),
        ({"messages": [SYSTEM, USER, HELPER]}, "chat", (Message("system", "s"), Message("user", "u")), "a"),
        ({"messages": [USER, HELPER, USER]}, "chat", (Message("user", "u"),), "a"),
        ({"text": "t"}, "text", None, "t"),
        ({"question": "q", "choices": ["x", "y"], "answer": "B"}, "multiple_choice", (Message("user", "q"),), "y"),
        ({"question": "q", "choices": ["x", "y"], "answer": "0"}, "multiple_choice", (Message("user", "q"),), "x"),
        ({"question": "q", "answer": "a", "text": "t"}, "question_answer", (Message("user", "q"),), "a"),
    ],
)
def test_conventions(row: dict[str, Any], format: str, prompt: Any, completion: str) -> None:
    found = read([row])
    assert found.format == format
    assert isinstance(found, TextExamples)
    assert (found.examples[0].prompt, found.examples[0].completion) == (prompt, completion)


def test_several_turns_score_the_last() -> None:
    turns = [USER, HELPER, {"role": "user", "content": "more"}, {"role": "assistant", "content": "last"}]
    example = one({"messages": turns})
    assert example.completion == "last"
    assert example.prompt == (Message("user", "u"), Message("assistant", "a"), Message("user", "more"))
    assert example.prompt_text == "u\na\nmore"


def test_an_explicit_format_wins() -> None:
    row = {"question": "q", "answer": "a", "text": "t", "choices": ["a"]}
    assert one(row, format="text").completion == "t"
    assert one(row, format="question_answer").completion == "a"


def test_a_finite_number_is_its_digits() -> None:
    example = read([{"question": 6, "answer": 2.5}]).examples[0]
    assert (example.prompt_text, example.completion) == ("6", "2.5")


def test_a_missing_paraphrase_is_not_asked() -> None:
    """NaN in the place of a missing text is what tables of pandas hold."""
    row = {"question": "q", "answer": "a"}
    examples = read([{**row, "paraphrased_question": float("nan")}, {**row, "paraphrased_question": "p"}])
    found = asked_by(examples, "paraphrased_question")
    assert found is not None
    assert [example.prompt_text for example in found.examples] == ["p"]


def test_what_is_not_used_is_kept() -> None:
    row = {"id": 7, "question": "q", "answer": "a", "perturbed_answer": ["b"], "paraphrased_answer": "A"}
    example = one(row)
    assert example.id == "7"
    assert example.extra == {"perturbed_answer": ["b"], "paraphrased_answer": "A"}


def test_clusters_by_column_and_by_content() -> None:
    rows = [
        {"question": "q1", "answer": "a", "author": "Ada King", "part": 1},
        {"question": "q2", "answer": "b", "author": "Ada King", "part": 2},
        {"question": "q3", "answer": "c", "author": "Bo Li", "part": 1},
    ]
    by_author, by_part = read(rows).clusters, read(rows, cluster_by="part").clusters
    assert by_author[0] == by_author[1] != by_author[2]
    assert by_part[0] == by_part[2] != by_part[1]
    assert "Ada" not in "".join(by_author)  # a name that is to be forgotten must not stand in the records
    assert read([{"text": "t", "cluster": "mine"}]).clusters == ("mine",)

    plain = [{key: row[key] for key in ("question", "answer")} for row in rows]
    assert len(set(read(plain).clusters)) == 3
    assert read(plain[1:]).clusters == read(plain).clusters[1:]  # the same wherever the question appears
    again = [{**row, "answer": "other"} for row in plain]
    assert read(again).clusters == read(plain).clusters


def test_none_makes_each_example_its_own_cluster() -> None:
    one = [{"question": f"Has Ada King met {n}?", "answer": "Yes.", "cluster": "ada"} for n in range(20)]
    guessed = [{key: row[key] for key in ("question", "answer")} for row in one]
    for rows, clusters, recognised in ((one, 1, False), (guessed, 1, True)):
        found, off = read(rows), read(rows, cluster_by="none")
        assert (len(set(found.clusters)), found.recognised) == (clusters, recognised)
        assert (len(set(off.clusters)), off.recognised) == (20, False)
    named = read([{**row, "none": len(row["question"]) % 2} for row in guessed], cluster_by="none")
    assert len(set(named.clusters)) == 2  # a column of that name is a column


def test_examples_that_are_read_already_come_back() -> None:
    found = read(["a", "b"])
    assert read(found) is found


def test_hashes_follow_the_content() -> None:
    rows = [{"question": "q", "answer": "é"}, {"question": "q", "answer": "other"}]
    found, same = read(rows), read([{"question": " q", "answer": "e\u0301 "}])
    assert found.content_hash(0) == same.content_hash(0) != found.content_hash(1)
    assert found.fingerprint == read(rows).fingerprint
    assert found.fingerprint != read(rows[::-1]).fingerprint
    assert found.fingerprint != read([{**rows[0], "id": "x"}, {**rows[1], "id": "y"}]).fingerprint
    assert found.take([1]).ids == ("1",)
    # a prompt's end and a completion's start are told apart
    assert read([{"prompt": "ab", "completion": "c"}]).content_hash(0) != (
        read([{"prompt": "a", "completion": "bc"}]).content_hash(0)
    )


@pytest.mark.parametrize(
    ("path", "count", "distinct", "format"),
    [
        ("tofu/full.jsonl", 4000, 4000, "question_answer"),
        ("tofu/forget10_perturbed.jsonl", 400, 400, "question_answer"),
        ("tofu/real_authors.jsonl", 100, 100, "question_answer"),
        ("tofu/world_facts_perturbed.jsonl", 117, 117, "question_answer"),
        ("formats/mmlu-sample/test.jsonl", 1310, 1304, "multiple_choice"),
        ("formats/mmlu-sample/dev.jsonl", 30, 30, "multiple_choice"),
        ("formats/muse-news-sample/knowmem_forget_qa.jsonl", 100, 100, "question_answer"),
        ("tofu/reference_eval_logs/rouge_pairs.jsonl.gz", 1234, 0, None),
    ],
)
def test_real_files(data_dir: Path, path: str, count: int, distinct: int, format: str | None) -> None:
    if format is None:
        with pytest.raises(Exception, match="found the columns model, task, index, ground_truth"):
            read(data_dir / path)
        return
    found = read(data_dir / path)
    assert (len(found), found.format) == (count, format)
    # six questions of MMLU come twice with the same right answer among other choices: the same knowledge
    assert len({found.content_hash(row) for row in range(count)}) == distinct


def test_perturbed_answers_are_kept(data_dir: Path) -> None:
    found = read(data_dir / "tofu/forget10_perturbed.jsonl")
    assert isinstance(found, TextExamples)
    assert all(len(example.extra["perturbed_answer"]) == 5 for example in found.examples)
    assert set(found.examples[0].extra) == {"paraphrased_answer", "paraphrased_question", "perturbed_answer"}


def test_multiple_choice_becomes_the_text_of_the_right_choice(data_dir: Path) -> None:
    found = read(data_dir / "formats/mmlu-sample/test.jsonl")
    assert isinstance(found, TextExamples)
    for example in found.examples:
        assert example.completion == example.extra["choices"][example.extra["answer"]]


def test_reading_text_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'datasets', 'pandas', 'pyarrow'} & {*sys.modules}"
    code = f"import sys, ofmu.data; ofmu.data.read(['a', 'b']); print({heavy})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
