"""The stories on handwritten digits: disjoint sets, labels that are wrong where they should be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ofmu.data.images import Normalise
from ofmu.demo.digits import MEAN, STD, DigitStory, random_tenth, removed_class, wrong_labels

STORIES = (wrong_labels, removed_class, random_tenth)
SETS = ("forget", "retain", "holdout", "test")


def numbers(examples) -> list[int]:
    return [int(id_.removeprefix("digit-")) for id_ in examples.ids]


@pytest.mark.parametrize("make", STORIES)
def test_the_same_seed_gives_the_same_story_and_another_seed_another(make: Callable[..., DigitStory]) -> None:
    for name in SETS:
        assert getattr(make(5), name).fingerprint == getattr(make(5), name).fingerprint
    assert make(5).forget.ids != make(6).forget.ids


@pytest.mark.parametrize("make", STORIES)
def test_every_image_is_in_one_set(make: Callable[..., DigitStory]) -> None:
    story = make(1)
    parts = [set(getattr(story, name).ids) for name in SETS]
    assert len(set.union(*parts)) == sum(len(part) for part in parts) == 1797
    assert len(story.forget) + len(story.retain) == len(story.train) == 1200


@pytest.mark.parametrize("make", STORIES)
def test_pixels_and_truth_are_scikit_learns(make: Callable[..., DigitStory]) -> None:
    images, target = load_digits(return_X_y=True)
    story = make(2)
    for name in (*SETS, "train"):
        examples = getattr(story, name)
        where = numbers(examples)
        assert examples.pixels.dtype == np.uint8
        assert examples.pixels.shape == (len(examples), 8, 8, 1)
        assert np.array_equal(examples.pixels.reshape(-1, 64), images[where] * 15)
        assert np.array_equal(story.truth(examples), target[where])
        assert examples.labels.dtype == np.int64
        assert examples.class_names == tuple("0123456789")
        assert where == sorted(where)  # the order gives nothing away


@pytest.mark.parametrize("seed", range(4))
def test_wrong_labels_are_never_true_and_all_others_are(seed: int) -> None:
    story = wrong_labels(seed)
    assert len(story.forget) == len(story.holdout) == 120
    for wrong in (story.forget, story.holdout):
        assert (wrong.labels != story.truth(wrong)).all()
        assert wrong.labels.min() >= 0
        assert wrong.labels.max() <= 9
        shifts = np.bincount((wrong.labels - story.truth(wrong)) % 10, minlength=10)
        assert (shifts[1:] > 0).all()  # every kind of error occurs
    for right in (story.retain, story.test):
        assert np.array_equal(right.labels, story.truth(right))


def test_training_holds_the_wrong_labels() -> None:
    story = wrong_labels(0)
    labels = dict(zip(story.train.ids, story.train.labels.tolist(), strict=True))
    for part in (story.forget, story.retain):
        assert {id_: labels[id_] for id_ in part.ids} == dict(zip(part.ids, part.labels.tolist(), strict=True))


@pytest.mark.parametrize("digit", [0, 3, 9])
def test_a_removed_class_is_gone_from_what_is_kept(digit: int) -> None:
    story = removed_class(0, digit=digit)
    assert (story.forget.labels == digit).all()
    assert (story.retain.labels != digit).all()
    assert set(story.retain.labels.tolist()) == set(range(10)) - {digit}
    assert (story.holdout.labels == digit).all()
    unseen = int((story.test.labels == digit).sum())
    assert abs(unseen - len(story.holdout)) <= 1
    assert len(story.holdout) >= 20
    assert set(story.test.labels.tolist()) == set(range(10))


def test_random_tenth_has_the_images_of_wrong_labels_with_true_labels() -> None:
    clean, wrong = random_tenth(3), wrong_labels(3)
    for name in SETS:
        assert getattr(clean, name).ids == getattr(wrong, name).ids
        assert np.array_equal(getattr(clean, name).labels, clean.truth(getattr(clean, name)))


def test_a_smaller_story_for_quick_runs() -> None:
    story = wrong_labels(0, num_trained=400)
    assert [len(getattr(story, name)) for name in SETS] == [40, 360, 40, 1357]


@pytest.mark.parametrize("num_trained", [19, 1601])
def test_impossible_sizes_are_refused(num_trained: int) -> None:
    with pytest.raises(ValueError, match=r"20 … 1,600"):
        wrong_labels(num_trained=num_trained)


def test_an_impossible_digit_is_refused() -> None:
    with pytest.raises(ValueError, match="0 … 9"):
        removed_class(digit=10)


def test_one_story_cannot_change_the_next() -> None:
    """Images are cached; what a caller gets is a copy."""
    first = wrong_labels(0)
    first.forget.pixels[:] = 0
    first.forget.labels[:] = 0
    assert wrong_labels(0).forget.pixels.max() == 240
    assert wrong_labels(0).forget.fingerprint != first.forget.fingerprint


def test_mean_and_deviation_are_those_of_the_images() -> None:
    train = random_tenth(0).train
    values = Normalise(MEAN, STD)(train.pixels)
    assert isinstance(values, torch.Tensor)
    assert values.shape == (1200, 1, 8, 8)
    assert abs(values.mean().item()) < 0.02
    assert abs(values.std().item() - 1) < 0.02
