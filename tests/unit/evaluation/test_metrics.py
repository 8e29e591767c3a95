from __future__ import annotations

import math

import numpy as np
import pytest

from ofmu.errors import InputError
from ofmu.evaluation.metric import Attack, Metric, SetMean
from ofmu.evaluation.metrics import all_metrics, find
from ofmu.evaluation.records import Records

NAMES = {
    "accuracy",
    "entropy",
    "exact_memorization",
    "extraction_strength",
    "loss",
    "margin",
    "mia_confidence",
    "mia_correctness",
    "mia_entropy",
    "mia_loss",
    "mia_min_k",
    "mia_min_k_plus_plus",
    "mia_modified_entropy",
    "mia_zlib",
    "probability",
}


def unlearned(**sets) -> Records:
    return Records({("unlearned", name): record for name, record in sets.items()})


def only(kind: str, on: str) -> SetMean:
    found = find(kind)
    assert issubclass(found, SetMean)
    return found(on)


def test_the_files_are_the_metrics_and_each_is_documented():
    found = all_metrics()
    assert not NAMES - set(found)
    for name, kind in found.items():
        assert issubclass(kind, Metric)
        assert "Source:" in (kind.__doc__ or ""), name
        assert kind.needs <= {"answers", "holdout", "paraphrased", "wrong", "generations", "retrained", "base"}
        assert kind.better in {"up", "down", "as_retrained"}


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'probability'"):
        find("probabilty")


def test_probability_of_the_worked_example(text_record):
    score = only("probability", "forget").score(unlearned(forget=text_record({"a": [0.1, 0.3, 0.2]})))
    assert score.value == pytest.approx(0.8187, abs=5e-5)
    assert (score.name, score.n, score.direction, score.half) == (
        "forget_probability",
        1,
        "as_retrained",
        "whole",
    )


def test_loss_is_the_mean_over_examples_of_their_mean(text_record):
    records = unlearned(retain=text_record({"a": [1.0, 3.0], "b": [5.0]}))
    score = only("loss", "retain").score(records)
    assert score.value == 3.5
    assert score.per_sample == {"a": 2.0, "b": 5.0}
    assert score.direction == "down"
    assert only("loss", "holdout").direction == "as_retrained"


def test_exact_memorization_of_the_worked_example(text_record):
    record = text_record(
        {"a": [1.0] * 5, "empty": [1.0]},
        correct=[False, True, True, True, False, True],  # pred (5,7,2,9), true (5,6,2,9) in another order; E wrong
        content=[True, True, True, True, False, False],
    )
    score = only("exact_memorization", "forget").score(unlearned(forget=record))
    assert score.value == 0.75
    assert list(score.excluded) == ["empty"]
    assert (score.n, score.per_sample) == (1, {"a": 0.75})


def test_mia_loss_of_the_worked_example(text_record):
    records = unlearned(
        forget=text_record({"a": [1.0], "b": [2.0], "c": [3.0]}),
        holdout=text_record({"a": [2.0], "b": [4.0], "c": [5.0]}),
    )
    score = find("mia_loss").over(records)[0].score(records)
    assert score.value == pytest.approx(0.8333, abs=5e-5)
    assert (score.n, score.clusters) == (6, 6)
    assert score.per_sample["forget/a"] == 1.0
    assert score.per_sample["holdout/a"] == 2.0
    assert "too few clusters" in (score.reason or "")


def test_threshold_attacks_on_images(image_record):
    sure, unsure = [4.0, 0.0, 0.0], [1.0, 0.8, 0.0]
    forget = image_record([sure, sure, unsure], [0, 0, 1])
    test = image_record([unsure, unsure], [0, 1])
    records = unlearned(forget=forget, test=test)
    expected = {"mia_confidence": 4.5 / 6, "mia_correctness": 2 / 3, "mia_entropy": 5 / 6}
    for name, value in expected.items():
        attack = find(name).over(records)[0]
        assert attack.sets == ("forget", "test")  # no holdout: the test images are the non-members
        found = attack.score(records).value
        f, h = (attack.values(record).values for record in (forget, test))
        pairs = np.mean([[1.0 if b > a else 0.5 if a == b else 0.0 for b in h] for a in f])
        assert found == pytest.approx(pairs)
        if name != "mia_correctness":
            assert found == pytest.approx(value)
    accuracy = {name: find("accuracy")(name).score(records).value for name in ("forget", "test")}
    found = find("mia_correctness").over(records)[0].score(records).value
    assert found == pytest.approx(0.5 + (accuracy["forget"] - accuracy["test"]) / 2)


def test_the_holdout_is_preferred_to_the_test_set(image_record):
    records = unlearned(**{name: image_record([[1.0, 0.0]], [0]) for name in ("forget", "holdout", "test")})
    assert find("mia_confidence").over(records)[0].sets == ("forget", "holdout")


def test_accuracy_where_a_class_is_removed(image_record):
    logits = np.eye(3)[[0] * 15 + [1] * 15].tolist()
    records = unlearned(
        forget=image_record(np.eye(3)[[2, 0]].tolist(), [2, 2]),
        retain=image_record(logits, [0] * 15 + [1] * 15),
        test=image_record(np.eye(3)[[0, 0, 2, 0]].tolist(), [0, 1, 2, 2]),
    )
    scores = {each.name: each.score(records) for each in find("accuracy").over(records)}
    assert scores["test_accuracy"].value == 0.5  # classes 0 and 1 only
    assert scores["test_accuracy"].n == 2
    assert not scores["test_accuracy"].excluded
    assert scores["test_accuracy_forgotten_class"].value == 0.5
    assert scores["test_accuracy_forgotten_class"].direction == "as_retrained"
    assert scores["retain_accuracy"].value == 1.0
    assert scores["retain_accuracy"].direction == "up"
    assert math.isnan(scores["holdout_accuracy"].value)
    assert scores["holdout_accuracy"].reason == "no holdout set"


def test_a_value_that_is_not_finite_makes_the_score_nan_and_is_named(text_record):
    records = unlearned(forget=text_record({"a": [1.0], "bad": [float("nan")], "c": [float("inf")]}))
    for name in ("loss", "probability"):
        score = only(name, "forget").score(records)
        if name == "loss":
            assert math.isnan(score.value)
            assert score.reason == "2 values are not finite: bad, c"
        else:  # exp(-inf) is a fine 0
            assert score.reason == "1 value is not finite: bad"
        assert score.interval is None


def test_missing_is_not_zero(text_record):
    records = unlearned(forget=text_record({"a": [1.0]}))
    score = find("mia_loss").over(records)[0].score(records)
    assert math.isnan(score.value)
    assert score.reason == "no holdout set"
    records.add("original", "holdout", text_record({"a": [1.0]}))
    score = find("mia_loss").over(records)[0].score(records)
    assert score.reason == "not measured on the holdout set"
    gone = text_record({"a": [1.0]}, content=[False])
    score = only("exact_memorization", "forget").score(unlearned(forget=gone))
    assert score.reason == "no example is left to measure"
    assert math.isnan(score.value)


def test_only_the_reporting_half_counts(text_record):
    record = text_record({"a": [1.0], "b": [2.0], "c": [4.0]}, excluded={"q": "cut", "r": "cut"})
    halves = {"holdout": {"a": "steer", "b": "report", "c": "report", "q": "report", "r": "steer"}}
    score = only("loss", "holdout").score(unlearned(holdout=record), halves=halves)
    assert (score.value, score.half, score.n, set(score.excluded)) == (3.0, "report", 2, {"q"})
    attack = find("mia_loss")()
    assert isinstance(attack, Attack)
    both = unlearned(forget=text_record({"x": [3.0]}), holdout=record)
    assert attack.score(both, halves=halves).half == "report"
    assert attack.score(both, halves=halves).value == 0.5
    with pytest.raises(ValueError, match="'c' of the holdout set belongs to neither half"):
        only("loss", "holdout").score(unlearned(holdout=record), halves={"holdout": {"a": "steer", "b": "report"}})


@pytest.mark.parametrize("name", sorted(NAMES))
def test_order_of_examples_changes_nothing(name, story, image_record):
    kind = find(name)
    if kind.modality == "image":
        rng = np.random.default_rng(0)
        made = [(rng.normal(size=(40, 3)).tolist(), rng.integers(0, 3, 40).tolist()) for _ in range(2)]
        records = unlearned(forget=image_record(*made[0]), holdout=image_record(*made[1]))
    else:
        records = story({"unlearned": (2.0, 1.0)})
    instance = kind.over(records)[0]
    forward = instance.score(records)
    assert forward.interval is not None
    assert forward == instance.score(records)  # the same bits a second time
    mirrored = instance.measure(records).tables
    values = [table.values["unlearned"][::-1] for table in mirrored]
    assert instance.point(values) == pytest.approx(forward.value, abs=1e-12)
    low, high = forward.interval
    assert low <= forward.value <= high


def test_models_whose_records_hold_other_examples_are_compared_on_common_ids(text_record):
    records = Records()
    losses = {str(index): [1.0 + index] for index in range(10)}
    records.add("original", "forget", text_record(losses, data="d"))
    fewer = {name: [2.0] for name in losses if name != "3"}
    records.add("unlearned", "forget", text_record(fewer, data="d", excluded={"3": "cut"}))
    measurement = only("loss", "forget").measure(records)
    assert measurement.scores["original"].n == 10
    assert measurement.scores["unlearned"].n == 9
    assert measurement.scores["unlearned"].excluded == {"3": "cut"}
    assert measurement.scores["unlearned"].interval == (2.0, 2.0)
