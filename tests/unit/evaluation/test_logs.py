"""Logs of other tools as records: both layouts of each, the published numbers of MUSE, and files that are no logs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ofmu.errors import InputError
from ofmu.evaluation.evaluate import measure, summarise
from ofmu.evaluation.logs import Log, read_log
from ofmu.evaluation.metrics import find
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.score import Score
from ofmu.report.headline import tables

SHORT = {"forget": "forget", "retain": "retain", "real_authors": "ra", "world_facts": "wf"}
ROUGE = ("rouge1_recall", "rougeL_recall", "rougeL_f1")
ATTACKS = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus", "mia_gradnorm")
LEGACY_TASKS = {
    "forget": "eval_log_forget.json",
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
}
LEGACY_KEYS = {
    "avg_gt_loss": "gt_avg_loss",
    "num_token_gt": "gt_tokens",
    "avg_paraphrased_loss": "ref_avg_loss",
    "average_perturb_loss": "wrong_avg_loss",
    "rouge1_recall": "rouge1_recall",
    "rougeL_recall": "rougeL_recall",
}


@pytest.fixture(scope="module")
def logs(data_dir: Path) -> Path:
    return data_dir / "tofu" / "reference_eval_logs"


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def by_index(found: list[dict[str, Any]], names: dict[str, str]) -> dict[str, Any]:
    values = {str(row["index"]): {theirs: row[ours] for theirs, ours in names.items()} for row in found}
    return {"agg_value": 0.0, "value_by_index": values}


def open_unlearning_json(table: Path) -> dict[str, Any]:
    """The JSON that the framework writes, from the same values in a table."""
    made: dict[str, Any] = {}
    logged = rows(table)
    for task, short in SHORT.items():
        own = [row for row in logged if row["task"] == task]
        made[f"{short}_Q_A_Prob"] = by_index(own, {"prob": "prob", "avg_loss": "avg_loss"})
        made[f"{short}_Q_A_PERT_Prob"] = by_index(own, {"prob": "wrong_prob", "avg_loss": "wrong_avg_loss"})
        if task in ("forget", "retain"):
            made[f"{short}_Q_A_PARA_Prob"] = by_index(own, {"prob": "ref_prob", "avg_loss": "ref_avg_loss"})
        made[f"{short}_Q_A_ROUGE"] = by_index(own, {name: name for name in ROUGE})
        made[f"{short}_Truth_Ratio"] = by_index(own, {"score": "truth_ratio_logged"})
    forget = [row for row in logged if row["task"] == "forget"]
    for name in ("exact_memorization", "extraction_strength"):
        made[name] = by_index(forget, {"score": name})
    scores = rows(table.with_name(f"{table.stem}__mia.parquet"))
    for name in ATTACKS:
        sides = {
            side: by_index([row for row in scores if row["set"] == side], {"score": name})
            for side in ("forget", "holdout")
        }
        made[name] = {**sides, "auc": 0.0, "agg_value": 0.0}
    return made


def same(first: Record, second: Record) -> None:
    """Equal, but for what only the tables have."""
    assert (first.ids, first.clusters, first.data) == (second.ids, second.clusters, second.data)
    np.testing.assert_array_equal(first.columns["nll"], second.columns["nll"])
    for name in set(first.facts) - {"zlib_bytes", "mia_reference"}:
        np.testing.assert_array_equal(first.facts[name], second.facts[name], err_msg=name)


def test_the_framework_s_json_gives_the_same_records_as_the_table(logs: Path, tmp_path: Path):
    table = logs / "open_unlearning_tofu/Llama-3.2-1B-Instruct__full_forget01.parquet"
    file = tmp_path / "TOFU_EVAL.json"
    file.write_text(json.dumps(open_unlearning_json(table)))
    ours, theirs = read_log(file), read_log(table)
    assert ours.layout == theirs.layout == "TOFU"
    assert set(ours.records) == set(theirs.records)
    for name, record in theirs.records.items():
        same(record, ours.records[name])
    assert len(theirs.records["forget-wrong"]) == 200
    assert theirs.records["forget-wrong"].ids[:2] == ("0#0", "0#1")
    assert set(theirs.records["forget"].clusters) == {"forget-author-0", "forget-author-1"}
    assert len(set(theirs.records["world_facts"].clusters)) == 117


def test_the_first_harness_s_json_gives_the_same_records_as_the_table(logs: Path, tmp_path: Path):
    table = logs / "legacy_tofu/phi-1.5_retain99_wd0.parquet"
    logged = rows(table)
    made = {
        task: {
            key: {str(row["index"]): row[column] for row in logged if row["task"] == name}
            for key, column in LEGACY_KEYS.items()
        }
        for name, task in LEGACY_TASKS.items()
    }
    file = tmp_path / "eval_log_aggregated.json"
    file.write_text(json.dumps(made))
    ours, theirs = read_log(file).records, read_log(table).records
    assert set(ours) == set(theirs)
    for name, record in theirs.items():
        same(record, ours[name])
    assert len(theirs["forget"]) == 40
    assert theirs["forget"].facts["tokens"].min() > 1


@pytest.mark.parametrize("role", ["target", "retrain"])
def test_a_log_of_muse_gives_the_published_numbers(role: str, logs: Path):
    published = json.loads((logs / "published.json").read_text())["open_unlearning"][f"MUSE News__{role}"]
    log = read_log(logs / f"open_unlearning_muse/News__{role}.parquet")
    facts = {name: record.facts for name, record in log.records.items()}
    found = {
        "forget_knowmem_ROUGE": np.nanmean(facts["forget"]["rougeL_f1"]),
        "forget_verbmem_ROUGE": np.nanmean(facts["forget"]["verbmem_rougeL_f1"]),
        "retain_knowmem_ROUGE": np.nanmean(facts["retain"]["rougeL_f1"]),
    } | {name: scores_of(log, f"forget_{name}").value for name in ("exact_memorization", "extraction_strength")}
    found |= {name: scores_of(log, name).value for name in ATTACKS}
    assert log.layout == "MUSE"
    assert found == pytest.approx({name: published[name] for name in found}, abs=1e-12)
    assert scores_of(log, "mia_loss").n == 200  # the documents, not the questions


def scores_of(log: Log, name: str, role: str = "unlearned") -> Score:
    kind = find(name.removeprefix("forget_").removeprefix("retain_"))
    records = Records({(role, set_name): record for set_name, record in log.records.items()})
    return measure(records, metrics=[kind])[name].scores[role]


def test_values_of_another_definition_carry_its_mode_and_all_others_ours(logs: Path, tmp_path: Path):
    log = read_log(logs / "open_unlearning_tofu/Llama-3.2-1B-Instruct__retain99.parquet")
    public = {"forget_extraction_strength", "mia_min_k_plus_plus", "mia_gradnorm"}
    names = (*public, "forget_exact_memorization", "forget_probability", "mia_loss", "mia_min_k")
    modes = {name: scores_of(log, name).mode for name in names}
    assert modes == {name: "parity:open_unlearning" if name in public else "correct" for name in names}
    log.records["forget"].to_parquet(tmp_path / "forget.parquet")
    assert Record.from_parquet(tmp_path / "forget.parquet").modes == log.records["forget"].modes


def test_a_headline_says_which_of_its_parts_are_of_another_definition(logs: Path):
    places = {"original": "full_forget05", "unlearned": "full_forget05", "retrained": "retain95"}
    found = Records()
    for role, name in places.items():
        log = read_log(logs / f"open_unlearning_tofu/Llama-3.2-1B-Instruct__{name}.parquet")
        for set_name, record in log.records.items():
            found.add(role, set_name, record)
    scores = {each["name"]: each for each in summarise(found)["scores"] if each["role"] == "unlearned"}
    mixed = "correct + parity:open_unlearning"
    assert {name: scores[name]["mode"] for name in ("forgetting_gap", "privacy_gap", "retention_gap")} == {
        "forgetting_gap": mixed,
        "privacy_gap": mixed,
        "retention_gap": "correct",
    }
    parts = [part for name in ("forgetting_gap", "privacy_gap") for part in scores[name]["parts"]]
    assert {part["name"] for part in parts if part["mode"] != "correct"} == {
        "forget_extraction_strength",
        "mia_min_k_plus_plus",
    }
    main, public = tables({"scores": list(scores.values())})
    assert (main.mode, public.mode) == ("correct", "parity:open_unlearning")
    gap = next(line for line in main.lines() if line.metric == "forgetting_gap")
    assert gap.basis == "in part parity:open unlearning"
    assert sum("(parity:open unlearning)" in said for said in gap.parts) == 1


def test_what_a_log_does_not_know_is_not_measured(logs: Path):
    log = read_log(logs / "open_unlearning_tofu/Llama-3.2-1B-Instruct__retain99.parquet")
    for name in ("retain_exact_memorization", "retain_extraction_strength"):
        score = scores_of(log, name)
        assert math.isnan(score.value)
        assert (score.reason, score.n) == ("not measured", 0)
    assert scores_of(log, "forget_exact_memorization").n == 40
    record = log.records["forget"]
    assert not record.columns["content"].any()
    assert np.isnan(record.columns["z"]).all()


def test_a_record_of_a_log_outlives_its_file(logs: Path, tmp_path: Path):
    record = read_log(logs / "open_unlearning_tofu/Llama-3.2-1B-Instruct__retain99.parquet").records["forget"]
    record.to_parquet(tmp_path / "r.parquet")
    same(record, Record.from_parquet(tmp_path / "r.parquet"))


def values(**more: Any) -> dict[str, Any]:
    by = {"0": {"prob": 0.5, "avg_loss": 0.7} | more, "1": {"prob": None, "avg_loss": None}}
    return {"forget_Q_A_Prob": {"agg_value": 0.5, "value_by_index": by}}


def test_an_example_without_a_value_is_excluded_and_a_missing_loss_follows_from_the_probability(tmp_path: Path):
    file = tmp_path / "log.json"
    file.write_text(json.dumps(values(avg_loss=None)))
    log = read_log(file)
    np.testing.assert_allclose(log.records["forget"].means("nll"), [math.log(2), np.nan])
    for name in ("forget_loss", "forget_probability"):
        score = scores_of(log, name)
        assert (score.n, dict(score.excluded)) == (1, {"1": "not measured"})


def json_file(content: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "log.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return make


def table_file(columns: dict[str, list[Any]]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pq.write_table(pa.table(columns), folder / "log.parquet")
        return folder / "log.parquet"

    return make


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absent": (lambda folder: folder / "no.json", "does not exist"),
    "a folder": (lambda folder: folder, "is not a file"),
    "no JSON": (json_file("{"), "is no JSON"),
    "another JSON": (json_file({"loss": 1}), "none of the keys"),
    "a list": (json_file([1, 2]), "none of the keys"),
    "a summary": (json_file({"forget_Q_A_Prob": 0.5}), "a summary without single examples"),
    "words": (json_file(values(avg_loss="much")), "no number"),
    "an empty log": (json_file({"eval_log.json": {}}), "no value of a single example"),
    "no table": (lambda folder: json_file("{}")(folder).rename(folder / "log.parquet"), "cannot be read as a Parquet"),
    "another table": (table_file({"a": [1]}), "has the columns a; a log has"),
    "no numbers by index": (json_file({"eval_log_forget.json": {"avg_gt_loss": [1.0]}}), "no value for each index"),
    "a side without examples": (json_file({"mia_loss": {"forget": 3}}), "a summary without single examples"),
    "a set without a name": (
        table_file({"task": [None, "a"], "index": [0, 1], "avg_loss": [1.0, 1.0]}),
        "name of a set",
    ),
    "an odd set": (table_file({"task": ["Set 1"], "index": [0], "avg_loss": [1.0]}), "cannot be the name of a set"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_log_is_one_line(case: str, tmp_path: Path):
    make, part = BAD[case]
    with pytest.raises(InputError, match=part) as raised:
        read_log(make(tmp_path))
    assert "\n" not in str(raised.value)
