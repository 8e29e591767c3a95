"""MIA-efficacy: the tiny example, both modes against slow references, and what keeps it from having a value."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import SVC

from ofmu.evaluation.metrics import find
from ofmu.evaluation.mia_efficacy import class_matched, fit_threshold, salun_unseen
from ofmu.evaluation.records import Records

RNG = np.random.default_rng(0)


def test_the_tiny_example_is_half():
    found = fit_threshold(-np.array([0.9, 0.8]), -np.array([0.7, 0.6]))
    assert 0.7 < -found.cut <= 0.8
    assert 100 * found.unseen(-np.array([0.95, 0.65])).mean() == 50


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_no_threshold_is_better(members, others):
    members, others = np.array(members, float), np.array(others, float)
    found = fit_threshold(members, others)

    def accuracy(cut: float) -> float:
        return 0.5 * float((members <= cut).mean() + (others > cut).mean())

    assert found.balanced_accuracy == pytest.approx(accuracy(found.cut))
    assert found.balanced_accuracy == pytest.approx(max(accuracy(cut) for cut in (-1.0, *range(7))))
    assert found.balanced_accuracy >= 0.5


def test_salun_is_a_support_vector_classifier_on_the_first_images_in_stored_order():
    members, others, forget = RNG.beta(8, 1, 90), RNG.beta(4, 2, 40), RNG.beta(6, 1, 30)
    slow = SVC(C=3, gamma=1.0, kernel="rbf").fit(
        np.concatenate([members[:40], others]).reshape(-1, 1), np.array([1] * 40 + [0] * 40)
    )
    assert salun_unseen(members, others, forget).tolist() == (slow.predict(forget.reshape(-1, 1)) == 0).tolist()
    changed = members.copy()
    changed[40:] = 0.0
    assert (salun_unseen(changed, others, forget) == salun_unseen(members, others, forget)).all()
    with pytest.raises(ValueError, match="at least as many"):
        salun_unseen(members[:39], others, forget)


def test_matching_takes_the_class_shares_of_the_forget_set():
    forget = np.array([0] * 20 + [1] * 10)
    members, others = RNG.integers(0, 4, 400), RNG.integers(0, 4, 200)
    inside, outside, lacking = class_matched(forget, members, others, RNG)
    assert len(inside) == len(outside) == len(set(inside)) == len(set(outside))
    for chosen in (members[inside], others[outside]):
        counts = np.bincount(chosen, minlength=4)
        assert counts[0] == pytest.approx(2 * counts[1], abs=1)
        assert counts[2:].sum() == 0
    assert lacking == ()


def test_a_class_forgotten_as_a_whole_is_seen_as_non_member_and_stood_for_among_members():
    members, others = RNG.integers(1, 4, 300), np.repeat(np.arange(4), 30)
    inside, outside, lacking = class_matched(np.zeros(50, np.int64), members, others, RNG)
    assert (others[outside] == 0).all()
    assert len(inside) == len(outside) == 30
    assert set(members[inside]) == {1, 2, 3}
    assert lacking == ()


def test_classes_that_the_test_set_lacks_are_named():
    inside, outside, lacking = class_matched(np.array([0, 1]), np.array([0, 0, 1]), np.array([0, 0]), RNG)
    assert lacking == (1,)
    assert len(inside) == len(outside) == 2
    assert class_matched(np.array([1]), np.array([1]), np.array([0]), RNG)[1].size == 0


def confident(image_record, ids: Sequence[int], confidences: Sequence[float], set_name: str, label: int = 0):
    logits = [[math.log(p), math.log(1 - p)] if label == 0 else [math.log(1 - p), math.log(p)] for p in confidences]
    record = image_record(logits, [label] * len(ids))
    names = tuple(f"{set_name}{number}" for number in ids)
    return type(record)("image", names, names, record.example, record.columns, model="m", data=set_name, classes=2)


def story(image_record, forget: Sequence[float], *, size: int = 40) -> Records:
    """Retain images at a confidence of .9, test images at .6."""
    wiggle = np.linspace(-0.02, 0.02, size)
    found = Records()
    for role in ("unlearned", "retrained"):
        found.add(role, "forget", confident(image_record, range(len(forget)), forget, "forget"))
        found.add(role, "retain", confident(image_record, range(size), 0.9 + wiggle, "retain"))
        found.add(role, "test", confident(image_record, range(size), 0.6 + wiggle, "test"))
    return found


def instances(records: Records) -> dict:
    return {each.name: each for each in find("mia_efficacy").over(records)}


def test_the_share_of_the_forget_set_that_looks_unseen(image_record):
    records = story(image_record, [0.95] * 9 + [0.62] * 3)
    halves = {name: {f"{name}{n}": "steer" if n % 2 else "report" for n in range(40)} for name in ("retain", "test")}
    score = instances(records)["mia_efficacy"].score(records, halves=halves)
    assert score.value == 0.25
    assert (score.n, score.direction, score.unit, score.mode) == (12, "as_retrained", "share", "correct")
    assert score.interval is not None
    assert sum(score.per_sample.values()) == 3


def test_all_features_and_salun_where_there_is_a_test_set(image_record):
    records = story(image_record, [0.95, 0.62])
    found = {name: each.score(records) for name, each in instances(records).items()}
    features = ["mia_efficacy", "mia_efficacy_correctness", "mia_efficacy_entropy", "mia_efficacy_modified_entropy"]
    assert list(found) == [*features, "mia_efficacy_salun"]
    assert found["mia_efficacy_salun"].mode == "parity:salun"
    assert found["mia_efficacy_salun"].value == found["mia_efficacy"].value == 0.5
    assert found["mia_efficacy_entropy"].value == 0.5


def test_without_a_known_half_there_is_a_reason_and_no_value(image_record):
    records = story(image_record, [0.95, 0.62])
    reported = {name: {f"{name}{n}": "report" for n in range(40)} for name in ("retain", "test")}
    found = {name: each.score(records, halves=reported) for name, each in instances(records).items()}
    assert "steering half" in found["mia_efficacy"].reason
    assert "whole sets" in found["mia_efficacy_salun"].reason
    assert all(math.isnan(score.value) and not score.excluded for score in found.values())
    alone = Records({key: record for key, record in records.items() if key[1] == "forget"})
    (only,) = find("mia_efficacy").over(alone)
    assert "retain and the test set" in only.score(alone).reason


def test_the_same_records_give_the_same_score(image_record):
    records = story(image_record, list(np.linspace(0.55, 0.95, 30)))
    first, second = (instances(records)["mia_efficacy"].score(records) for _ in range(2))
    assert first == second
