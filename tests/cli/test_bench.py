"""`ofmu bench`: the real command on tiny models and cut-down files of TOFU."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ofmu.evaluation.record import Record

from .command import Ended

ROWS = {"forget01_perturbed": 40, "retain_perturbed": 20, "holdout01": 40, "real_authors_perturbed": 10}
ROWS["world_facts_perturbed"] = 10
Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def tofu(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of the files that the benchmark reads."""
    folder = tmp_path_factory.mktemp("tofu")
    for name, count in ROWS.items():
        rows = (data_dir / "tofu" / f"{name}.jsonl").read_text().splitlines()[:count]
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def test_tofu_measures_every_model_once_and_writes_the_tables(ofmu: Command, wide: Path, tofu: Path, tmp_path: Path):
    words = ["bench", "tofu", "--split", "forget01", "--data", tofu, "--original", wide, "--retrained", wide]
    words += [
        "--base",
        wide,
        "--model",
        f"mine={wide}",
        "--max-new-tokens",
        4,
        "--output",
        tmp_path / "out",
        "--device",
        "cpu",
    ]
    ended = ofmu(*words, "--json")
    assert ended.code == 0, ended.err
    found = ended.object
    summary = json.loads((tmp_path / "out/mine/TOFU_SUMMARY.json").read_text())
    assert summary == found["summary"]["mine"]
    assert summary["forget_quality"] == 1  # the same model as "retrained"
    assert summary["privleak"] == pytest.approx(0, abs=1e-6)
    assert 0 < summary["model_utility"] < 1 or summary["model_utility"] == 0
    with (tmp_path / "out/parity-tofu-legacy-whole-sets-first-300-rows.csv").open() as file:
        assert [row["Method"] for row in csv.DictReader(file)] == ["original", "retrained", "mine"]
    parts = [row for row in found["tables"]["parts of the headlines"] if row["model"] == "mine"]
    assert {row["headline"] for row in parts} == {"forgetting_gap", "retention_gap", "privacy_gap"}
    assert {row["part"]: row["gap"] for row in parts}["mia_loss"] == 0
    attacks = {row["attack"]: row for row in found["tables"]["privacy"] if row["model"] == "mine"}
    assert {"mia_loss", "mia_zlib_total", "mia_reference"} <= set(attacks)
    assert attacks["mia_reference"]["this model"] == 0.5  # the same model as "base": every difference is zero
    headlines = {row["model"]: row for row in found["tables"]["headlines"]}
    assert headlines["mine"]["privacy_gap"] == 0
    assert headlines["mine"]["forgetting_gap"] is None  # original and retrained do not differ
    longer = ofmu(*[6 if word == 4 else word for word in words])
    assert longer.code == 0, longer.err
    for tokens in (4, 6):
        said = Record.from_parquet(tmp_path / f"out/records/mine/fp32/forget.{tokens}-tokens.parquet")
        assert said.facts["generated_tokens"].max() == tokens
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/records").rglob("*.parquet")}
    assert ofmu(*words).code == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/records").rglob("*.parquet")} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tofx"], "unknown benchmark 'tofx' (did you mean 'tofu'?)"),
        (["tofu"], "there is no model to measure; give --model FOLDER"),
        (["tofu", "--model", "a=x", "--model", "a=y"], "two models are called 'a'"),
        (["tofu", "--model", "../a=x"], "'../a' cannot be the name of a model"),
        (["tofu", "--model", "=x"], "'' cannot be the name of a model"),
        (["tofu", "--model", "a=x", "--output", Path(__file__)], "test_bench.py is a file"),
        (["tofu", "--model", "a=x", "--output", Path(__file__).parent], "holds something else"),
        (["tofu", "--split", "forget02"], "forget02"),
        (["cost", "--hidden", 10, "--heads", 3], "--hidden is 10, but must be a multiple of twice --heads, 6"),
        (["tofu", "--split", "forget01", "--model", "nowhere"], "nowhere"),
    ],
)
def test_rubbish_gets_one_line(ofmu: Command, tofu: Path, words: list[str], message: str):
    more = ["--data", tofu] if words[0] == "tofu" else []
    ended = ofmu("bench", *words, *more)
    assert ended.code == 2
    assert message in ended.line


def test_the_list_names_every_benchmark(ofmu: Command):
    ended = ofmu("bench")
    assert ended.code == 0
    for name in ("tofu", "evaluation", "ulira", "klom"):
        assert name in ended.out


def test_the_help_of_a_benchmark_names_it_once_and_shows_its_defaults(ofmu: Command):
    ended = ofmu("bench", "muse", "--help")
    assert ended.code == 0
    assert ended.out.splitlines()[0] == "Usage: ofmu bench muse [OPTIONS]"
    assert ended.out.count("ofmu bench") == 1
    assert "[default correct]" in " ".join(ended.out.replace("│", " ").split())
    assert "('correct',)" not in ended.out
    assert "page docs/METRICS.md" in " ".join(ended.out.split())
