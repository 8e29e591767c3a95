"""Three stories on scikit-learn's handwritten digits: wrong labels, a class to remove, a random tenth.

1,797 real images of 8 × 8 grey values 0 … 16, kept here as 0 … 240 (one step is 15). They come with scikit-learn, so
nothing is downloaded. Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), the
test part, CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np

from ofmu.data.examples import ImageExamples

MEAN = (0.287,)
"""Mean of the pixels as shares of 255, for ``ofmu.data.images.Normalise``."""
STD = (0.354,)
"""Their standard deviation."""
NUM_TRAINED = 1200
NUM_CLASSES = 10


@dataclass(frozen=True)
class DigitStory:
    """What one story trains on, forgets and looks at; no image is in two of the four sets.

    Args:
        name: ``wrong_labels``, ``removed_class`` or ``random_tenth``.
        forget: trained on, to be forgotten.
        retain: trained on, to be kept.
        holdout: never trained on, of the same kind as ``forget`` (equally mislabelled; of the same class; any).
        test: never trained on, with true labels.
        true_labels: the label that the writer meant, of every image by id.
    """

    name: str
    forget: ImageExamples
    retain: ImageExamples
    holdout: ImageExamples
    test: ImageExamples
    true_labels: Mapping[str, int]

    @property
    def train(self) -> ImageExamples:
        """Everything that the model before has seen, in the images' order; ``retain`` is what retraining sees."""
        pixels = np.concatenate([self.forget.pixels, self.retain.pixels])
        labels = np.concatenate([self.forget.labels, self.retain.labels])
        ids = self.forget.ids + self.retain.ids
        order = sorted(range(len(ids)), key=ids.__getitem__)
        names = tuple(ids[place] for place in order)
        return ImageExamples(names, names, pixels[order], labels[order], self.retain.class_names, self.retain.source)

    def truth(self, examples: ImageExamples) -> np.ndarray:
        """True labels of some images, int64 [n]: what the wrong labels are scored against."""
        return np.array([self.true_labels[id_] for id_ in examples.ids], dtype=np.int64)


def wrong_labels(seed: int = 0, *, num_trained: int = NUM_TRAINED) -> DigitStory:
    """A tenth of the training labels is wrong and is to be forgotten.

    Args:
        seed: of the split and of the wrong labels.
        num_trained: number of training images, 20 … 1,600.

    Returns:
        ``forget``: the mislabelled tenth; ``retain``: the others; ``holdout``: as many images never trained on,
        mislabelled in the same way; ``test``: the rest, correctly labelled. A wrong label is drawn evenly from the
        nine others and is never the true one.

    Raises:
        ValueError: ``num_trained`` is out of range.
    """
    rng, order, wrong = _start(seed, num_trained)
    labels = _true_labels().copy()
    mislabelled = np.concatenate([order[:wrong], order[num_trained : num_trained + wrong]])
    shift = rng.integers(1, NUM_CLASSES, size=len(mislabelled))
    labels[mislabelled] = (labels[mislabelled] + shift) % NUM_CLASSES
    return _tenth("wrong_labels", order, labels, num_trained)


def random_tenth(seed: int = 0, *, num_trained: int = NUM_TRAINED) -> DigitStory:
    """A random tenth of the training images, correctly labelled, is to be forgotten: the usual benchmark.

    Args:
        seed: of the split; the images of every set are those of :func:`wrong_labels` with the same seed.
        num_trained: number of training images, 20 … 1,600.

    Returns:
        ``holdout`` is as many images never trained on, ``test`` the rest.

    Raises:
        ValueError: ``num_trained`` is out of range.
    """
    _, order, _ = _start(seed, num_trained)
    return _tenth("random_tenth", order, _true_labels(), num_trained)


def removed_class(seed: int = 0, *, digit: int = 3, num_trained: int = NUM_TRAINED) -> DigitStory:
    """One digit is removed altogether.

    Args:
        seed: of the split.
        digit: the class to remove, 0 … 9.
        num_trained: number of training images, 20 … 1,600.

    Returns:
        ``forget``: all training images of the digit; ``retain``: all of the others; ``holdout``: every other unseen
        image of the digit; ``test``: all other unseen images, the remaining half of the digit among them.

    Raises:
        ValueError: ``digit`` or ``num_trained`` is out of range.
    """
    if digit not in range(NUM_CLASSES):
        raise ValueError(f"digit is {digit}, but must be 0 … 9")
    _, order, _ = _start(seed, num_trained)
    labels = _true_labels()
    trained, unseen = order[:num_trained], order[num_trained:]
    held_out = unseen[labels[unseen] == digit][::2]
    return DigitStory(
        name="removed_class",
        forget=_examples(trained[labels[trained] == digit], labels),
        retain=_examples(trained[labels[trained] != digit], labels),
        holdout=_examples(held_out, labels),
        test=_examples(np.setdiff1d(unseen, held_out), labels),
        true_labels=_true_labels_by_id(),
    )


def _start(seed: int, num_trained: int) -> tuple[np.random.Generator, np.ndarray, int]:
    """Generator, all image numbers shuffled, and the size of a tenth of the training images."""
    if not 20 <= num_trained <= 1600:
        raise ValueError(f"num_trained is {num_trained}, but must be 20 … 1,600 of the {len(_true_labels()):,}")
    rng = np.random.Generator(np.random.Philox(seed))
    return rng, rng.permutation(len(_true_labels())), num_trained // 10


def _tenth(name: str, order: np.ndarray, labels: np.ndarray, num_trained: int) -> DigitStory:
    """Forget the first tenth of the trained, hold out as many of the unseen."""
    tenth = num_trained // 10
    return DigitStory(
        name=name,
        forget=_examples(order[:tenth], labels),
        retain=_examples(order[tenth:num_trained], labels),
        holdout=_examples(order[num_trained : num_trained + tenth], labels),
        test=_examples(order[num_trained + tenth :], labels),
        true_labels=_true_labels_by_id(),
    )


def _examples(numbers: np.ndarray | Sequence[int], labels: np.ndarray) -> ImageExamples:
    """The images with these numbers, in rising order (so that no order tells what is special about an image)."""
    numbers = np.sort(numbers)
    ids = tuple(_id(number) for number in numbers)
    return ImageExamples(
        ids=ids,
        clusters=ids,
        pixels=_pixels()[numbers],
        labels=labels[numbers],
        class_names=tuple(str(digit) for digit in range(NUM_CLASSES)),
        source="scikit-learn digits",
    )


def _id(number: int) -> str:
    return f"digit-{number:04d}"


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    images, target = map(np.asarray, load_digits(return_X_y=True))
    pixels = (images.reshape(-1, 8, 8, 1) * 15).astype(np.uint8)
    labels = target.astype(np.int64)
    for shared in (pixels, labels):
        shared.setflags(write=False)
    return pixels, labels


def _pixels() -> np.ndarray:
    return _digits()[0]


def _true_labels() -> np.ndarray:
    return _digits()[1]


@cache
def _true_labels_by_id() -> Mapping[str, int]:
    return MappingProxyType({_id(number): int(label) for number, label in enumerate(_true_labels())})
