from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ofmu.evaluation.evaluate import as_json, measure, summarise
from ofmu.evaluation.records import Records
from ofmu.evaluation.retain_sample import drawn

ROLES = {"original": (0.1, 0.1), "unlearned": (4.5, 0.2), "retrained": (5.0, 0.1)}
KEYS = {
    *("name", "role", "mode", "version", "reference", "excluded", "half", "value", "interval"),
    *("n", "clusters", "direction", "gap", "reason"),
}


def test_the_layout_is_that_of_the_run_directory(story):
    found = summarise(story(ROLES), cost={"gradients": 480, "seconds": float("nan")})
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert set(found) == {"scores", "verdict", "cost"}
    assert found["cost"] == {"gradients": 480, "seconds": None}
    assert set(found["verdict"]) == {"forgotten", "over_forgotten", "utility_kept", "against", "words"}
    for score in found["scores"]:
        assert set(score) >= KEYS
        assert "per_sample" not in score
        assert score["mode"] == "correct"
        if score["value"] is None or (score["interval"] is None and not score["parts"]):
            assert score["reason"], score["name"]
    names = [score["name"] for score in found["scores"] if score["role"] == "unlearned"]
    kinds = ("exact_memorization", "extraction_strength", "loss", "probability")
    assert names == [
        *(f"{on}_{kind}" for on in ("forget", "retain", "holdout") for kind in kinds),
        *("mia_loss", "mia_min_k", "mia_min_k_plus_plus", "mia_zlib", "mia_zlib_total"),
        *("forgetting_gap", "retention_gap", "privacy_gap"),
    ]


def test_a_second_run_gives_the_same_bytes(story):
    first, second = (json.dumps(summarise(story(ROLES), seed=3)) for _ in range(2))
    assert first == second


def test_halves_reach_every_score(story):
    records = story(ROLES)
    halves = {
        name: {str(index): "report" if index % 10 < 8 else "steer" for index in range(40)}
        for name in ("holdout", "retain")
    }
    scores = {(s["name"], s["role"]): s for s in summarise(records, halves=halves)["scores"]}
    assert scores["holdout_loss", "unlearned"]["half"] == "report"
    assert scores["holdout_loss", "unlearned"]["n"] == 32
    assert scores["forget_loss", "unlearned"]["half"] == "whole"
    assert scores["forget_loss", "unlearned"]["n"] == 40
    assert scores["mia_loss", "unlearned"]["half"] == "report"
    assert scores["mia_loss", "unlearned"]["n"] == 72


def test_a_score_of_the_steering_half_is_refused(story):
    score = measure(story(ROLES))["forget_loss"].scores["unlearned"]
    with pytest.raises(ValueError, match="half that steers"):
        as_json(replace(score, half="steer"))


def test_at_most_four_hundred_retain_clusters_of_the_half_are_drawn_once(text_record):
    names = [str(index) for index in range(1000)]
    halves = ["report" if index % 2 else "steer" for index in range(1000)]
    first = drawn(names, halves, "report", seed=1)
    assert len(first) == 400
    assert first == sorted(first)
    assert all(index % 2 for index in first)
    assert drawn(names, halves, "report", seed=1) == first
    assert drawn(names, halves, "report", seed=2) != first
    again = drawn([names[i] for i in first], ["report"] * 400, "report", seed=1)
    assert again == list(range(400))  # drawing from what was drawn takes all of it
    assert drawn(["a", "b", "a"], ["report"] * 3, "report", seed=0) == [0, 1, 2]

    losses = {name: [1.0] for name in names}
    records = Records({("unlearned", "retain"): text_record(losses)})
    score = measure(records, halves={"retain": dict(zip(names, halves))}, seed=1)["retain_loss"].scores["unlearned"]
    assert score.n == 400
    assert set(score.per_sample) == {names[i] for i in first}


def test_sets_and_models_that_were_not_measured_are_there_with_a_reason(story):
    records = story(ROLES, holdout=False)
    some = Records({key: record for key, record in records.items() if key != ("retrained", "retain")})
    scores = {(s["name"], s["role"]): s for s in summarise(some)["scores"]}
    assert scores["mia_loss", "unlearned"]["value"] is None
    assert scores["mia_loss", "unlearned"]["reason"] == "no holdout set"
    assert scores["retain_loss", "retrained"]["reason"] == "not measured on the retain set"
    assert scores["retain_loss", "unlearned"]["gap"] is None
    assert np.isfinite(scores["retain_loss", "unlearned"]["value"])
