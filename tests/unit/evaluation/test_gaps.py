from __future__ import annotations

import numpy as np
import pytest

from ofmu.evaluation.evaluate import measure
from ofmu.evaluation.gaps import compared_draws, gap
from ofmu.evaluation.headlines import forgetting_gap, headlines, part_names, privacy_gap, retention_gap
from ofmu.evaluation.metrics import find
from ofmu.evaluation.records import Records


def probabilities(text_record, values: dict[str, float], on: str = "forget") -> Records:
    """One example a model, of this probability."""
    return Records({(role, on): text_record({"a": [-np.log(p)]}, model=role) for role, p in values.items()})


def test_the_residual_of_the_worked_example(text_record):
    for values, expected in (((0.88, 0.30, 0.12), 0.237), ((0.82, 0.45, 0.38), 0.159)):
        named = dict(zip(("original", "unlearned", "retrained"), values))
        measurement = find("probability")("forget").measure(probabilities(text_record, named))  # type: ignore[call-arg]
        found = gap(measurement, "unlearned", ("retrained",))
        assert found is not None
        assert found.residual == pytest.approx(expected, abs=5e-4)
        assert found.value == pytest.approx(values[1] - values[2])
        assert found.interval is None  # one cluster


def test_original_is_one_retrained_is_zero_and_beyond_is_negative(story):
    records = story({"original": (0.1, 0.1), "unlearned": (6.5, 0.2), "retrained": (5.0, 0.1)})
    loss = measure(records)["forget_loss"].scores
    assert loss["original"].residual == pytest.approx(1)
    assert loss["retrained"].residual == 0
    assert (loss["retrained"].gap, loss["retrained"].gap_interval) == (0, (0, 0))
    assert loss["unlearned"].residual == pytest.approx((6.5 - 5) / (0.1 - 5), abs=0.01)
    assert loss["unlearned"].reference == "retrained"
    low, high = loss["unlearned"].residual_interval or (0, 0)
    assert low < -0.25 < high + 0.1
    assert high < -0.1


def test_a_paired_gap_is_much_surer_than_the_two_values(story):
    records = story({"original": (0.1, 0.1), "unlearned": (5.2, 0.2), "retrained": (5.0, 0.1)})
    score = measure(records)["forget_loss"].scores["unlearned"]
    assert score.interval is not None
    assert score.gap_interval is not None
    own, paired = (high - low for low, high in (score.interval, score.gap_interval))
    assert paired < own / 10


def test_without_a_difference_there_is_no_residual(story):
    records = story({"original": (5.0, 0.1), "unlearned": (5.2, 0.2), "retrained": (5.0, 0.1)})
    score = measure(records)["forget_loss"].scores["unlearned"]
    assert score.residual is None
    assert "no signal" in (score.residual_reason or "")
    assert score.gap == pytest.approx(0.2, abs=0.01)


def test_seeds_that_differ_more_than_the_signal_hide_it(story):
    roles = {"original": (3.0, 0.1), "unlearned": (4.0, 0.1), "retrained": (4.0, 0.1), "retrained-2": (5.0, 0.1)}
    score = measure(story(roles))["forget_loss"].scores["unlearned"]
    assert score.residual is None  # |3 − 4.5| < 3 · SD(4, 5) = 2.1
    assert score.gap == pytest.approx(-0.5, abs=0.01)
    assert score.gap_interval is not None
    low, high = score.gap_interval
    assert low < -0.95 < -0.05 < high  # the seeds are resampled too


def test_seeds_are_drawn_with_replacement_and_averaged():
    draws = {"unlearned": np.zeros(4000), "retrained": np.zeros(4000), "retrained-2": np.ones(4000)}
    found = compared_draws(draws, ("unlearned", "original"), ("retrained", "retrained-2"), "x")
    assert found is not None
    assert "original" not in found
    values, counts = np.unique(found["reference"], return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert compared_draws(draws, ("base",), ("retrained",), "x") is None


def test_the_retrained_model_has_no_gap_and_the_original_a_whole_one(story):
    original, retrained = (0.1, 0.1), (5.0, 0.1)
    for role, expected in ((original, 1.0), (retrained, 0.0)):
        records = story({"original": original, "unlearned": role, "retrained": retrained})
        found = forgetting_gap(measure(records), records, ("retrained",))
        assert found.value == pytest.approx(expected)
        assert found.interval == pytest.approx((expected, expected))


def test_a_headline_of_text_lists_its_missing_parts_and_is_nan_below_half(story):
    records = story({"original": (0.1, 0.1), "unlearned": (4.5, 0.2), "retrained": (5.0, 0.1)})
    forgetting, retention, privacy = (headline.score() for headline in headlines(measure(records), records))
    assert np.isnan(forgetting.value)
    assert forgetting.interval is None
    assert forgetting.reason == (
        "2 of 5 parts: fewer than half; more needs ofmu evaluate --generate (the models answer) and the columns "
        "paraphrased_answer and perturbed_answer (answers in other words, wrong answers) in the data"
    )
    assert [part["reason"] is None for part in forgetting.parts].count(True) == 2
    assert np.isfinite(retention.value)
    assert retention.reason == "1 of 2 parts"
    assert privacy.reason is None


def test_an_ability_adds_its_parts_to_the_retention_gap(story, text_record):
    records = story({"original": (0.1, 0.1), "retrained": (5.0, 0.1)})
    records.add("original", "world_facts", text_record({"a": [1.0]}))
    assert part_names("retention_gap", records)[2:] == tuple(
        f"world_facts_{part}" for part in ("normalised_probability", "rougeL_recall", "truth_ratio")
    )


def test_retention_and_privacy_by_hand(story):
    records = story({"original": (0.1, 0.1), "unlearned": (4.5, 0.5), "retrained": (5.0, 0.1)})
    measurements = measure(records)
    p = {role: measurements["retain_probability"].scores[role].value for role in records.roles}
    found = retention_gap(measurements, records, ("retrained",))
    assert found.value == pytest.approx((p["retrained"] - p["unlearned"]) / p["retrained"])
    assert retention_gap(measurements, records, ("original",)).value == pytest.approx(found.value)
    a = {role: measurements["mia_loss"].scores[role].value for role in records.roles}
    expected = abs(a["unlearned"] - a["retrained"]) / max(a["retrained"], 1 - a["retrained"])
    assert privacy_gap(measurements, records, ("retrained",)).value == pytest.approx(expected)


def test_a_better_model_than_the_reference_has_no_retention_gap(story):
    records = story({"original": (0.1, 0.1), "unlearned": (5.0, 0.1), "retrained": (5.0, 0.3)})
    found = retention_gap(measure(records), records, ("retrained",))
    assert (found.value, found.interval) == (0, (0, 0))


def test_headlines_of_images_take_accuracy_above_chance(image_record):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, size=60)
    shares = {"original": (1.0, 0.9, 0.9), "unlearned": (0.2, 0.8, 0.7), "retrained": (0.1, 0.9, 0.85)}
    records = Records()
    for role, parts in shares.items():
        for name, share in zip(("forget", "retain", "test"), parts):
            shown = np.where(np.arange(60) < share * 60, labels, (labels + 1) % 4)
            logits = np.eye(4)[shown] * 3 + rng.normal(size=(60, 4)) * 0.1
            records.add(role, name, image_record(logits.tolist(), labels.tolist(), data=name, model=role))
    measurements = measure(records)
    found = {headline.name: headline for headline in headlines(measurements, records)}
    kept = found["retention_gap"].score()
    assert kept.value == pytest.approx(np.mean([0.1 / 0.65, 0.15 / 0.6]))
    assert kept.reason is None
    assert kept.interval is not None
    assert found["forgetting_gap"].score().value < 0.3
    privacy = found["privacy_gap"].score()
    assert privacy.reason == "3 of 4 parts"
    assert privacy.value == max(part["value"] or 0 for part in privacy.parts)  # type: ignore[type-var]


def test_without_a_retrained_model_the_headlines_say_so(story):
    records = story({"original": (0.1, 0.1), "unlearned": (4.5, 0.2)})
    for headline in headlines(measure(records), records):
        assert np.isnan(headline.score().value)
        assert {part["reason"] for part in headline.parts} == {"no retrained reference"}


def test_an_ability_that_the_reference_lacks_is_no_part_of_the_retention_gap(story, text_record):
    records = story({"original": (0.1, 0.1), "unlearned": (4.5, 0.1), "retrained": (5.0, 0.1)})
    names = [str(index) for index in range(16)]
    for role, hits in (("original", 2), ("unlearned", 0), ("retrained", 1)):  # of 16: noise
        recalled = np.array([1.0] * hits + [0.0] * (16 - hits))
        losses = {name: [9.0] for name in names}
        facts = {"zlib_bytes": np.ones(16), "rougeL_recall": recalled}
        records.add(role, "world_facts", text_record(losses, model=role, data="w", facts=facts))
    found = retention_gap(measure(records), records, ("retrained",))
    part = next(each for each in found.parts if each["name"] == "world_facts_rougeL_recall")
    assert "not clearly better than chance" in str(part["reason"])
    assert found.value == pytest.approx(0, abs=0.02)


def test_draws_in_which_the_reference_has_nothing_to_lose_leave_the_interval_of_the_retention_gap(story, text_record):
    records = story({"original": (0.1, 0.1), "unlearned": (4.5, 0.1), "retrained": (5.0, 0.1)})
    names = [str(index) for index in range(16)]
    for role, hits in (("original", 5), ("unlearned", 4), ("retrained", 5)):  # of 16: a draw in 400 has no hit
        recalled = np.array([1.0] * hits + [0.0] * (16 - hits))
        facts = {"zlib_bytes": np.ones(16), "rougeL_recall": recalled}
        records.add(
            role, "world_facts", text_record({name: [9.0] for name in names}, model=role, data="w", facts=facts)
        )
    measurements = measure(records)
    drawn = measurements["world_facts_rougeL_recall"].draws_for("retention_gap")["retrained"]
    assert (drawn == 0).any()
    found = retention_gap(measurements, records, ("retrained",))
    assert found.interval is not None
    assert 0 <= found.interval[0] <= found.value <= found.interval[1] <= 1
