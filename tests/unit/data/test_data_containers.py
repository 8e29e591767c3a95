"""Every container gives back the rows that were put in."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofmu.data import Message, TextExamples, read
from ofmu.data.containers import read_file

Rows = list[dict[str, Any]]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip() != "")
PAIRS = st.lists(st.fixed_dictionaries({"question": TEXT, "answer": TEXT}), min_size=1, max_size=5)


def _jsonl(rows: Rows) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def _json(rows: Rows) -> bytes:
    return json.dumps(rows, indent=1).encode()


def _csv(rows: Rows) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()})
    return out.getvalue().encode()


def _parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def _arrow_file(rows: Rows) -> bytes:
    table, out = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _arrow_stream(rows: Rows) -> bytes:
    table, out = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


CONTAINERS: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "jsonl": (".jsonl", _jsonl),
    "json": (".json", _json),
    "json that is jsonl": (".json", _jsonl),
    "csv": (".csv", _csv),
    "parquet": (".parquet", _parquet),
    "arrow file": (".arrow", _arrow_file),
    "arrow stream": (".arrow", _arrow_stream),
}


def written(folder: Path, container: str, rows: Rows, *, packed: bool) -> Path:
    suffix, encode = CONTAINERS[container]
    raw = encode(rows)
    path = folder / f"data{suffix}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("container", CONTAINERS)
@given(rows=PAIRS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_questions_and_answers_come_back(tmp_path: Path, container: str, packed: bool, rows: Rows) -> None:
    found = read(written(tmp_path, container, rows, packed=packed))
    assert isinstance(found, TextExamples)
    assert found.format == "question_answer"
    assert found.ids == tuple(str(row) for row in range(len(rows)))
    for example, row in zip(found.examples, rows, strict=True):
        assert example.prompt == (Message("user", row["question"]),)
        assert example.completion == row["answer"]


@pytest.mark.parametrize("container", CONTAINERS)
def test_lists_come_back_from_every_container(tmp_path: Path, container: str) -> None:
    rows = [
        {"question": "2 + 2?", "choices": ["three", "four"], "answer": 1, "subject": "sums"},
        {"question": "3 + 3?", "choices": ["six", "seven"], "answer": 0, "subject": "sums"},
    ]
    found = read(written(tmp_path, container, rows, packed=False))
    assert isinstance(found, TextExamples)
    assert found.format == "multiple_choice"
    assert [example.completion for example in found.examples] == ["four", "six"]
    assert found.examples[0].extra == {"choices": ["three", "four"], "answer": 1, "subject": "sums"}

    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    chat = read(written(tmp_path, container, [{"messages": turns}], packed=False))
    assert isinstance(chat, TextExamples)
    assert (chat.examples[0].prompt, chat.examples[0].completion) == ((Message("user", "Hi"),), "Hello")

    trl = read(written(tmp_path, container, [{"prompt": turns[:1], "completion": turns[1:]}], packed=False))
    assert isinstance(trl, TextExamples)
    assert trl.fingerprint == chat.fingerprint  # the same conversation in another layout, clusters included


def test_a_list_of_texts_and_a_json_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "texts.json"
    path.write_text('["one", "two"]')
    assert [example.completion for example in _texts(path)] == ["one", "two"]
    path.write_text('{"text": "alone"}\n')
    assert [example.completion for example in _texts(path)] == ["alone"]


def test_windows_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\r\n{"text": "two"}\r\n')
    assert [example.completion for example in _texts(path)] == ["one", "two"]
    table = read_file(path)
    assert [table.place(row) for row in range(2)] == ["line 1", "line 3"]


def test_csv_lines_are_the_lines_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'question,answer\n"two\nlines",a\nb,c\n')
    assert [read_file(path).place(row) for row in range(2)] == ["line 2", "line 4"]


def test_an_answer_that_looks_like_a_list_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'question,answer\nWhich?,"[1, 2]"\n')
    assert _texts(path)[0].completion == "[1, 2]"
    path.write_bytes(b'prompt,completion\n[1],"[""role""]"\n')
    assert (_texts(path)[0].prompt, _texts(path)[0].completion) == ("[1]", '["role"]')


def test_save_to_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"question": f"q{row}", "answer": f"a{row}"} for row in range(7)]
    data = datasets.Dataset.from_list(rows)
    data.select([4, 2]).save_to_disk(tmp_path / "some")
    data.save_to_disk(tmp_path / "shards", num_shards=3)
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "splits")
    datasets.DatasetDict({"a": data, "b": data}).save_to_disk(tmp_path / "unclear")

    assert [example.completion for example in _texts(tmp_path / "some")] == ["a4", "a2"]
    assert [example.completion for example in _texts(tmp_path / "shards")] == [row["answer"] for row in rows]
    assert len(_texts(tmp_path / "splits")) == 7
    assert len(_texts(tmp_path / "splits" / "test")) == 1
    with pytest.raises(Exception, match=r"holds the splits a, b: name one, e\.g\. .*unclear/a"):
        read(tmp_path / "unclear")


def _texts(path: Path) -> tuple[Any, ...]:
    found = read(path)
    assert isinstance(found, TextExamples)
    return found.examples
