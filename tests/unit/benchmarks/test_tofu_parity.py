"""Logs of real models, read as records: the public summary of each comes out again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ofmu.benchmarks.tofu_parity import UTILITY, parity
from ofmu.evaluation.logs import read_log
from ofmu.evaluation.record import Record

FAMILIES = ("Llama-2-7b-chat-hf", "Llama-3.2-1B-Instruct")
RETRAINED = {"full_forget01": "retain99", "full_forget05": "retain95", "full_forget10": "retain90"}
MODELS = [f"{family}__{role}" for family in FAMILIES for role in (*RETRAINED, *RETRAINED.values())]
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
