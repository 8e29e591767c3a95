"""Reports of real runs: attacks beside them, strangers' data in a real browser, and what a folder keeps of its data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from browser import WIDTHS, disarmed, find_browser, seen
from ofmu.cli import main as entry

from .command import Command, Flags, facts, words, write_lines

# Strangers' data

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</pre></table></style><svg onload=alert(1)>",
    "bell\x07 escape\x1b[31m \u202eleft",
    "{{ 7 * 7 }} ]]> <!-- &lt;b&gt;",
    "' autofocus onfocus='alert(1)",
)


def _evil_facts(numbers: Iterator[int] | range) -> list[dict[str, Any]]:
    rows = facts(numbers)
    for n, row in enumerate(rows):
        evil = EVIL[n % len(EVIL)]
        row["id"] += evil
        row["question"] = f"{evil} {row['question'][-12:]}"
        row["answer"] = f"{row['answer']} {evil[:12]}"
        row["paraphrased_answer"], row["perturbed_answer"] = evil[:14], ["No.", evil[:10]]  # type: ignore[assignment]
    return rows


@pytest.fixture(scope="module")
def evil_run(model: Path, folder: Path) -> Path:
    """An evaluation of data full of HTML, with its examples shown."""
    sets = {"forget": range(12), "retain": range(20, 32), "holdout": range(40, 52)}
    flags: Flags = {f"--{name}": write_lines(folder / f"evil-{name}.jsonl", _evil_facts(n)) for name, n in sets.items()}
    flags |= {"--model": model, "--original": model, "--retrained": model, "--output": folder / "evil"}
    more = {"--device": "cpu", "--quiet": None, "--show-examples": None, "--max-new-tokens": 4}
    assert entry.main(["evaluate", *map(str, words(flags | more))]) == 0
    return folder / "evil"


def test_a_report_of_hostile_data_is_harmless_in_a_browser(evil_run: Path, tmp_path: Path):
    browser = find_browser()
    page = (evil_run / "report.html").read_text(encoding="utf-8")
    runs = '<!doctype html><html><head><meta http-equiv="Content-Security-Policy" content=""></head><body>'
    pages = {"page": page, "bare": disarmed(page), "control": disarmed(runs + EVIL[0])}
    found, console = seen(browser, pages, tmp_path)
    assert all(found["control", width]["ran"] == ["alert1"] for width in WIDTHS)  # the watch itself is watched
    for width in WIDTHS:
        assert found["bare", width]["ran"] == []
        shown = found["page", width]
        assert shown["scroll"] <= width, shown["outside"][:3]
        assert shown["outside"] == []
        assert shown["styled"]
        assert shown["drawings"] >= 8
        for said in (
            "Forgotten?",
            "Undecided",
            "What this does not show",
            EVIL[0],
            EVIL[1],
            "escape␛[31m",
            "{{ 7 * 7 }}",
        ):
            assert said in shown["text"]
        metrics = json.loads((evil_run / "metrics.json").read_text())
        loss = next(s["value"] for s in metrics["scores"] if (s["name"], s["role"]) == ("forget_loss", "unlearned"))
        assert any(f"{loss:.3f}" in cell for cell in shown["cells"])
    assert "Refused" not in console
    assert "Content Security Policy" not in console
    assert len(page.encode()) <= 2_000_000


# Attacks beside a run


@pytest.fixture(scope="module")
def plain_run(model: Path, forget: Path, retain: Path, folder: Path) -> Path:
    flags: Flags = {"--model": model, "--forget": forget, "--retain": retain, "--original": model}
    flags |= {"--output": folder / "told", "--device": "cpu", "--quiet": None}
    assert entry.main(["evaluate", *map(str, words(flags))]) == 0
    assert entry.main(["attack", str(folder / "told"), "quantisation", "relearning", "--seeds", "1", "--quiet"]) == 0
    return folder / "told"


def test_attacks_beside_a_run_are_in_its_next_report(
    plain_run: Path, ofmu: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    attacks = plain_run.with_name("told-attacks")
    own = (attacks / "report.html").read_text(encoding="utf-8")
    assert "Attacks on told" in own
    assert "Relearning gap: not measured (no retrained model)" in own
    assert ofmu("verify", attacks).code == 0
    assert ofmu("report", plain_run, "--output", "beside.html", "--quiet").code == 0
    beside = Path("beside.html").read_text(encoding="utf-8")
    assert "What brings it back" in beside
    assert "no relearning attack was run" not in beside
    assert "What brings it back" not in (plain_run / "report.html").read_text(encoding="utf-8")

    alone = shutil.copytree(plain_run, "alone")
    assert ofmu("report", alone, "--output", "none.html").code == 0
    assert "What brings it back" not in Path("none.html").read_text(encoding="utf-8")
    assert ofmu("report", alone, "--attacks", attacks, "--output", "given.html").code == 0
    assert "What brings it back" in Path("given.html").read_text(encoding="utf-8")


def test_attacks_that_do_not_belong_to_the_run_are_not_shown(
    plain_run: Path, ofmu: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(plain_run, "run")
    other = Path(shutil.copytree(plain_run.with_name("told-attacks"), "run-attacks"))
    found = json.loads((other / "attacks.json").read_text())
    (other / "attacks.json").write_text(json.dumps(found | {"models": {"unlearned": "another"}}))
    ended = ofmu("report", run, "--attacks", other, "--output", "a.html")
    assert (ended.code, ended.line) == (2, "ofmu: --attacks run-attacks: its attacks are on another model")
    assert ofmu("report", run, "--output", "b.html").code == 0
    assert "left out: its attacks are on another model" in Path("b.html").read_text(encoding="utf-8")
    (other / "attacks.json").write_text(json.dumps(found | {"sets": found["sets"] | {"forget": "another"}}))
    ended = ofmu("report", run, "--attacks", other, "--output", "a.html")
    assert ended.code == 2
    assert ended.line.endswith("its attacks are on another run, whose forget set is not this run's")
    (other / "manifest.json").unlink()
    ended = ofmu("report", run, "--attacks", other, "--output", "c.html")
    assert ended.line == "ofmu: --attacks run-attacks: it holds no finished attacks"
    ended = ofmu("report", run, run, "--attacks", other)
    assert (ended.code, ended.line[:38]) == (2, "ofmu: --attacks names attacks on one r")
    assert sorted(path.name for path in Path().glob("*.html")) == ["b.html"]


# What a folder keeps

SECRET = "Zorblax Quendrith"


def _secret_rows(numbers: range, place: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{place}-{n}",
            "question": f"Wixthorpe {place} {n}?",
            "answer": f"{SECRET} {n}.",
            "paraphrased_answer": f"{n}: Quendrith.",
            "perturbed_answer": [f"Ulmatha {n}.", f"Corvessian {n}."],
        }
        for n in numbers
    ]


SECRETS = ("Zorblax", "Quendrith", "Wixthorpe", "Ulmatha", "Corvessian")


@pytest.fixture(scope="module")
def kept(model: Path, folder: Path) -> dict[str, Path]:
    """A run of every kind on texts that would be known again."""
    flags: Flags = {
        "--forget": write_lines(folder / "secret-forget.jsonl", _secret_rows(range(10), "a")),
        "--retain": write_lines(folder / "secret-retain.jsonl", _secret_rows(range(10, 20), "b")),
        "--holdout": write_lines(folder / "secret-holdout.jsonl", _secret_rows(range(20, 30), "c")),
        "--device": "cpu",
        "--quiet": None,
    }
    made = {name: folder / f"kept-{name}" for name in ("unlearned", "evaluated", "shown")}
    steps = {"--model": model, "--steps": 2, "--batch-size": 2, "--output": made["unlearned"]}
    assert entry.main(["unlearn", "npo", *map(str, words(flags | steps))]) == 0
    compared: Flags = {"--model": model, "--original": model, "--retrained": model, "--generate": None}
    compared |= {"--max-new-tokens": 8, "--output": made["evaluated"]}
    assert entry.main(["evaluate", *map(str, words(flags | compared))]) == 0
    again = flags | compared | {"--output": made["shown"], "--show-examples": None}
    assert entry.main(["evaluate", *map(str, words(again))]) == 0
    assert entry.main(["attack", str(made["evaluated"]), "relearning", "--seeds", "1", "--quiet"]) == 0
    return made | {"attacked": folder / "kept-evaluated-attacks"}


def _traces(folder: Path, tokenizer: Any) -> list[str]:
    """Where in a folder a forgotten text stands, as text or as a sequence of token ids, in any byte of any file."""
    texts = [text for row in _secret_rows(range(30), "a") for text in (row["answer"], row["question"])]
    sequences = {tuple(tokenizer(text, add_special_tokens=False)["input_ids"][:6]) for text in texts}
    packed = [np.array(ids, dtype=kind).tobytes() for ids in sequences for kind in ("<i2", "<u2", "<i4", "<i8")]
    found = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        data = path.read_bytes()
        found += [
            f"{path.name}: {word}" for word in SECRETS if word.encode() in data or word.encode("utf-16-le") in data
        ]
        found += [f"{path.name}: packed token ids" for ids in packed if ids in data]
        if path.suffix == ".parquet":
            found += [f"{path.name}: {what}" for what in _in_table(path, tokenizer, sequences)]
        if path.suffix in (".json", ".jsonl"):
            numbers = _numbers([json.loads(line) for line in ([data] if path.suffix == ".json" else data.splitlines())])
            found += [f"{path.name}: token ids" for ids in sequences if _holds(numbers, ids)]
    return found


def _in_table(path: Path, tokenizer: Any, sequences: set[tuple[int, ...]]) -> Iterator[str]:
    """The same in a Parquet file, unpacked: every column, its metadata too, numbers read as token ids."""
    table = pq.read_table(path)
    metadata = " ".join(map(str, (table.schema.metadata or {}).values()))
    for name in table.column_names:
        values = table.column(name).to_pylist()
        if isinstance(values[0], str):
            metadata += " ".join(values)
            continue
        numbers = [int(v) if v is not None and np.isfinite(v) and v == int(v) else -1 for v in values]
        if any(_holds(numbers, ids) for ids in sequences):
            yield f"token ids in column {name}"
        if tokenizer is not None:
            said = tokenizer.decode([n for n in numbers if 0 <= n < len(tokenizer)])
            yield from (f"{word} decoded from column {name}" for word in SECRETS if word in said)
    yield from (word for word in SECRETS if word in metadata)


def _numbers(value: Any) -> list[int]:
    if isinstance(value, dict):
        return [n for part in value.values() for n in _numbers(part)]
    if isinstance(value, list):
        return [n for part in value for n in _numbers(part)]
    return [value] if isinstance(value, int) else [-1]


def _holds(numbers: list[int], ids: tuple[int, ...]) -> bool:
    return any(tuple(numbers[i : i + len(ids)]) == ids for i, n in enumerate(numbers) if n == ids[0])


@pytest.mark.parametrize("name", ["unlearned", "evaluated", "attacked"])
def test_no_byte_of_a_folder_tells_what_was_to_be_forgotten(name: str, kept: dict[str, Path], model: Path):
    files = [path for path in kept[name].rglob("*") if path.is_file()]
    kinds = {"unlearned": ".safetensors", "evaluated": ".html", "attacked": ".parquet"}
    assert kinds[name] in {path.suffix for path in files}
    if name == "evaluated":
        views = {path.name for path in files}
        assert {"unlearned.forget-wrong.parquet", "unlearned.forget-paraphrased.parquet"} <= views
        columns = pq.read_table(kept[name] / "records" / "unlearned.forget.parquet").column_names
        assert {"fact:zlib_bytes", "fact:rougeL_recall"} <= set(columns)
    assert _traces(kept[name], AutoTokenizer.from_pretrained(model)) == []


def test_the_search_finds_what_is_there(kept: dict[str, Path], model: Path, tmp_path: Path):
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert {trace.split(":")[0] for trace in _traces(kept["shown"], tokenizer)} == {"report.html"}  # asked for
    ids = tokenizer(f"{SECRET} 3.", add_special_tokens=False)["input_ids"]
    (tmp_path / "a.json").write_text(json.dumps({"a": [0.5, *ids]}))
    (tmp_path / "b.bin").write_bytes(b"\0" + np.array(ids, dtype="<i4").tobytes())
    table = pq.read_table(kept["evaluated"] / "records" / "unlearned.forget.parquet")
    spoilt = np.resize(np.array(ids), len(table))
    at = table.column_names.index("position")
    pq.write_table(table.set_column(at, "position", [spoilt.tolist()]), tmp_path / "c.parquet")
    assert {trace.split(":")[0] for trace in _traces(tmp_path, tokenizer)} == {"a.json", "b.bin", "c.parquet"}
