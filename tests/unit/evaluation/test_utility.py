"""Model utility as a score: nine parts, an interval that recomputes the harmonic mean, or the reason for none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ofmu.evaluation.aggregates import harmonic_mean
from ofmu.evaluation.evaluate import measure, summarise
from ofmu.evaluation.records import Records
from ofmu.evaluation.utility import scores

ABILITIES = ("real_authors", "world_facts")


def records(text_record, *, generated: bool = True, clusters: int = 10) -> Records:
    rng = np.random.default_rng(0)
    found = Records()
    for role, level in (("unlearned", 0.5), ("retrained", 1.0)):
        for name in ("retain", *ABILITIES):
            groups = [f"{name}{n % clusters}" for n in range(20)]
            own = {str(n): [level * rng.uniform(0.5, 1.5)] for n in range(20)}
            facts = {"rougeL_recall": rng.uniform(0.3, 0.9, 20)} if generated else {}
            given = {"clusters": groups, "model": role}
            found.add(role, name, text_record(own, facts={"zlib_bytes": np.ones(20), **facts}, data=name, **given))
            wrong = {f"{n}#{k}": [3 * level + rng.uniform(0, 1)] for n in range(20) for k in range(3)}
            groups = [groups[n] for n in range(20) for _ in range(3)]
            found.add(role, f"{name}-wrong", text_record(wrong, clusters=groups, model=role, data=f"{name}-wrong"))
    return found


def test_it_is_the_harmonic_mean_of_the_nine(text_record):
    given = records(text_record)
    found = measure(given)
    own, retrained = scores(found, given.roles)
    assert (own.role, retrained.role, own.name, own.direction) == ("unlearned", "retrained", "model_utility", "up")
    parts = {part["name"]: part["unlearned"] for part in own.parts}
    assert len(parts) == 9
    assert {"retain_probability", "real_authors_normalised_probability", "world_facts_truth_ratio"} <= set(parts)
    assert all(value == found[name].scores["unlearned"].value for name, value in parts.items())
    assert own.value == pytest.approx(harmonic_mean(parts.values()))
    assert own.value > retrained.value
    low, high = own.interval
    assert low < own.value < high
    assert any(score["name"] == "model_utility" for score in summarise(given)["scores"])


def test_the_interval_recomputes_it_in_every_draw(text_record):
    given = records(text_record)
    found = measure(given)
    drawn = {part["name"]: found[part["name"]].draws_for("model_utility")["unlearned"] for part in
             scores(found, ("unlearned",))[0].parts}  # fmt: skip
    slowly = [harmonic_mean(each[b] for each in drawn.values()) for b in range(10_000)]
    assert scores(found, ("unlearned",))[0].interval == pytest.approx(tuple(np.quantile(slowly, [0.025, 0.975])))


def test_what_is_missing_is_said(text_record):
    given = records(text_record, generated=False)
    assert scores(measure(given), given.roles) == []  # nobody was asked: there is no such score
    partly = records(text_record)
    silent = text_record({str(n): [0.5] for n in range(20)}, clusters=[str(n) for n in range(20)], data="retain")
    partly.add("unlearned", "retain", silent)
    own, retrained = scores(measure(partly), partly.roles)
    assert math.isnan(own.value)
    assert "retain_rougeL_recall" in own.reason
    assert retrained.value > 0
    few = records(text_record, clusters=4)
    assert scores(measure(few), few.roles)[0].reason == "a part has no interval"
