"""Logs of real models, read as records: the public summary of each comes out again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ofmu.benchmarks.tofu_models import Measured
from ofmu.benchmarks.tofu_parity import UTILITY, answers, parity
from ofmu.benchmarks.tofu_tables import tables
from ofmu.evaluation.aggregates import memorization
from ofmu.evaluation.logs import read_log
from ofmu.evaluation.record import Record
from ofmu.evaluation.truth_ratio import knowledge, log_truth_ratio

FAMILIES = ("Llama-2-7b-chat-hf", "Llama-3.2-1B-Instruct")
RETRAINED = {"full_forget01": "retain99", "full_forget05": "retain95", "full_forget10": "retain90"}
MODELS = [f"{family}__{role}" for family in FAMILIES for role in (*RETRAINED, *RETRAINED.values())]
KEPT = ("forget", "forget-paraphrased", "forget-wrong", "holdout")
LEGACY = {"retain90": 0.613745, "retain95": 0.600577, "retain99": 0.620744, "full": 0.622677}


@pytest.fixture(scope="module")
def logs(data_dir: Path) -> Path:
    return data_dir / "tofu" / "reference_eval_logs"


@pytest.fixture(scope="module")
def published(logs: Path) -> dict[str, dict[str, float]]:
    return json.loads((logs / "published.json").read_text(encoding="utf-8"))["open_unlearning"]


def of(logs: Path, model: str) -> Mapping[str, Record]:
    return read_log(logs / "open_unlearning_tofu" / f"{model}.parquet").records


@pytest.mark.parametrize("model", MODELS)
def test_a_log_gives_the_published_summary(model: str, logs: Path, published: dict[str, dict[str, float]]):
    family, role = model.split("__")
    retrained = [of(logs, f"{family}__{RETRAINED[role]}")] if role in RETRAINED else []
    found, theirs = parity(of(logs, model), retrained), dict(published[model])
    theirs.pop("mia_reference", None)  # against another model, which a summary alone does not name
    assert set(theirs) <= set(found)
    for name, value in theirs.items():
        relative = 1e-9 if name == "forget_quality" else 0
        absolute = {"privleak": 1e-6, "forget_quality": 0}.get(name, 1e-12)
        assert found[name] == pytest.approx(value, rel=relative, abs=absolute), name
    if "forget_quality" in theirs:
        assert found["forget_quality_log10"] == pytest.approx(math.log10(theirs["forget_quality"]), abs=1e-9)
    else:
        assert math.isnan(found["forget_quality"])


@pytest.mark.parametrize("role", LEGACY)
def test_the_first_harness_s_logs_give_its_utility(role: str, logs: Path):
    found = parity(read_log(logs / "legacy_tofu" / f"llama2-7b_{role}_wd0.01.parquet").records, [])
    assert found["model_utility"] == pytest.approx(LEGACY[role], abs=2e-6)
    for name in ("exact_memorization", "extraction_strength", "mia_loss", "privleak"):
        assert math.isnan(found[name]), name  # not in such a log, and never made up


def test_forget_quality_of_the_first_harness_s_logs(logs: Path):
    full, retrained = (
        read_log(logs / "legacy_tofu" / f"phi-1.5_{role}_wd0.parquet").records for role in ("full", "retain90")
    )
    assert parity(full, [retrained])["forget_quality"] == pytest.approx(5.1004e-17, rel=5e-5)


def test_what_is_missing_is_not_a_number(logs: Path):
    whole = of(logs, MODELS[3])
    found = parity({"forget": whole["forget"], "retain": whole["retain"]}, [])
    assert found["forget_Q_A_Prob"] == pytest.approx(float(np.mean(whole["forget"].facts["probability"])), abs=1e-15)
    for name in ("forget_truth_ratio", "forget_quality", "model_utility", "mia_loss", "privleak"):
        assert math.isnan(found[name]), name
    assert len(UTILITY) == 9


def test_a_row_of_a_table_is_about_one_set_of_examples_and_one_yardstick(logs: Path):
    """Rows on whole sets have no part from the reporting half; the retrained value is the one that the gap is to."""
    roles = {"original": MODELS[8], "retrained": MODELS[11], "retrained-2": MODELS[5]}
    measured = [
        Measured(name, name.split("-")[0], {on: each for on, each in of(logs, model).items() if on in KEPT})
        for name, model in roles.items()
    ]
    found = tables(measured, split="forget10", seed=0)
    known_attacks = {row["attack"] for row in found["tables"]["privacy"]}
    assert "mia_zlib_total" not in known_attacks  # a log has no token count to make it of
    for row in found["tables"]["privacy"]:
        assert row["this model"] - row["retrained"] == pytest.approx(row["gap"], abs=1e-12), row["attack"]
    own, summary = measured[0].records, found["summary"]["original"]
    known = float(np.mean(knowledge(log_truth_ratio(*answers(own, "forget")))))
    parts = [summary[name] for name in ("extraction_strength", "exact_memorization", "forget_Q_A_PARA_Prob")]
    row = found["tables"]["public aggregates (whole sets; not for ranking)"][0]
    assert row["memorization"] == pytest.approx(memorization(*parts, known), abs=1e-12)


def test_the_tests_of_the_unlearned_models_are_reported_together(logs: Path):
    """Holm's p of two models: twice the smaller, and no less than that for the larger."""
    roles = {"retrained": ("retrained", MODELS[11]), "a": ("unlearned", MODELS[8]), "b": ("unlearned", MODELS[5])}
    measured = [
        Measured(name, role, {on: each for on, each in of(logs, model).items() if on in KEPT})
        for name, (role, model) in roles.items()
    ]
    rows = tables(measured, split="forget10", seed=0)["tables"]["forget quality (reporting half, paired)"]
    own = {row["model"]: (row["sign-flip p"], row["sign-flip p, Holm"]) for row in rows}
    small, large = sorted((own["a"], own["b"]))
    assert small[1] == pytest.approx(min(1.0, 2 * small[0]))
    assert large[1] == pytest.approx(max(small[1], large[0]))
    assert math.isnan(own["retrained"][1])
