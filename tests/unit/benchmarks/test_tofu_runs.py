"""Tables of the benchmark that runs tell themselves, and attacks at a threshold chosen elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ofmu.benchmarks.tofu_quality import at_thresholds
from ofmu.benchmarks.tofu_runs import attack_rows, cost_row, run_of
from ofmu.evaluation.record import COLUMNS, Record

FIGURE = {
    "variant": "int4",
    "measure": "forget_probability",
    "before": {"unlearned": 0.1, "original": 0.9},
    "after": {"unlearned": 0.4, "original": 0.8, "retrained": 0.1, "retrained-2": 0.2},
    "gap": 0.25,
    "gap_interval": [0.1, 0.3],
    "recovery": 0.375,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run/model").mkdir(parents=True)
    manifest = {"method": "npo", "seconds": 3.5, "steps": 7, "gradients": 9.0, "forwards": 2.0, "ended": "the end"}
    write(tmp_path / "run/manifest.json", manifest | {"model_after": "m", "environment": {"device": "cpu"}})
    (tmp_path / "run-attacks").mkdir()
    write(tmp_path / "run-attacks/manifest.json", {})
    write(
        tmp_path / "run-attacks/attacks.json",
        {"models": {"unlearned": "m"}, "attacks": {"quantisation": {"figures": [FIGURE]}}},
    )
    return tmp_path / "run"


def write(path: Path, found: object) -> None:
    path.write_text(json.dumps(found))


def test_a_run_tells_its_cost(run: Path):
    assert cost_row("mine", str(run / "model")) == {
        "model": "mine",
        "method": "npo",
        "seconds": 3.5,
        "steps": 7,
        "gradients": 9.0,
        "forwards": 2.0,
        "device": "cpu",
        "ended": "the end",
    }
    assert cost_row("mine", "some/hub-name") is None
    (run / "manifest.json").unlink()
    assert run_of(str(run / "model")) is None  # stopped before its end


def test_attacks_beside_a_run_are_told_if_they_are_on_its_model(run: Path):
    (row,) = attack_rows("mine", str(run / "model"))
    assert (row["model"], row["attack"], row["variant"], row["measure"]) == (
        "mine",
        "quantisation",
        "int4",
        "forget_probability",
    )
    assert (row["this model before"], row["this model"], row["gap"], row["recovery"]) == (0.1, 0.4, 0.25, 0.375)
    assert row["retrained"] == pytest.approx(0.15)
    found = json.loads((run.with_name("run-attacks") / "attacks.json").read_text())
    write(run.with_name("run-attacks") / "attacks.json", found | {"models": {"unlearned": "another"}})
    assert attack_rows("mine", str(run / "model")) == []
    assert attack_rows("mine", "some/hub-name") == []


def record(losses: list[float]) -> Record:
    count = len(losses)
    ids = tuple(str(number) for number in range(count))
    columns = {name: np.zeros(count, kind) for name, kind in COLUMNS["text"].items()} | {"nll": np.array(losses)}
    return Record("text", ids, ids, np.arange(count), columns)


def test_the_threshold_is_chosen_on_the_steering_half_and_judged_on_the_other():
    records = {"forget": record([1, 2, 1, 4]), "holdout": record([3, 5, 2, 4])}
    dealt = dict(zip("0123", ("steer", "steer", "report", "report")))
    halves = {"forget-wrong": dealt, "holdout": dealt}
    found = at_thresholds(records, "mia_loss", halves)
    assert found["balanced accuracy"] == 0.5  # seen up to 2.5: right of 1 and 4 the first, of 2 and 4 the second
    swapped = {name: {i: "report" if half == "steer" else "steer" for i, half in dealt.items()} for name in halves}
    assert at_thresholds(records, "mia_loss", swapped)["balanced accuracy"] == 0.75  # seen up to 1.5: 2 is missed
    assert np.isnan(at_thresholds(records, "mia_loss", {})["balanced accuracy"])
    assert np.isnan(found["TPR at 1 % FPR"])
    against = at_thresholds(records, "mia_reference", halves, base={name: record([0.0] * 4) for name in records})
    assert against["balanced accuracy"] == 0.5
