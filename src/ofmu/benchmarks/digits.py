"""The small pool that ensembles are tried on: scikit-learn's handwritten digits, and a network for them.

1,797 real images of 8 × 8 grey values, kept as 0 … 240. They come with scikit-learn, so nothing is downloaded. Source:
E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), the test part, CC BY 4.0.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ofmu.data.examples import ImageExamples
from ofmu.errors import InputError
from ofmu.runs.ensembles.recipe import Indices, Recipe, generator

CLASSES = 10
MEAN, STD = (0.287,), (0.354,)


def pool(seed: int, *, mislabelled: int = 0) -> ImageExamples:
    """All images in an order drawn by seed; a position says nothing about the image.

    Args:
        seed: of the order and of the wrong labels.
        mislabelled: the first so many get a wrong label, drawn evenly from the nine others.
    """
    from sklearn.datasets import load_digits

    images, target = map(np.asarray, load_digits(return_X_y=True))
    rng = generator(seed, "digits")
    order = rng.permutation(len(target))
    labels = target.astype(np.int64)[order]
    labels[:mislabelled] = (labels[:mislabelled] + rng.integers(1, CLASSES, size=mislabelled)) % CLASSES
    ids = tuple(f"digit-{number:04d}" for number in order)
    return ImageExamples(
        ids=ids,
        clusters=ids,
        pixels=(images[order].reshape(-1, 8, 8, 1) * 15).astype(np.uint8),
        labels=labels,
        class_names=tuple(str(digit) for digit in range(CLASSES)),
        source="scikit-learn digits",
    )


def parts(total: int, **sizes: int) -> dict[str, Indices]:
    """Positions 0 … total − 1 dealt in order to parts of the sizes given.

    Raises:
        InputError: there are not as many.
    """
    if sum(sizes.values()) > total:
        named = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InputError(f"{named} are {sum(sizes.values())} images, but there are {total}")
    ends = np.cumsum(list(sizes.values()))
    return {name: np.arange(end - size, end) for (name, size), end in zip(sizes.items(), ends)}


def recipe(method: Any, *, steps: int, budget: float) -> Recipe:
    """A small network, trained and unlearned.

    Args:
        method: as in :class:`~ofmu.runs.ensembles.recipe.Recipe`.
        steps: of the training, with 32 images each.
        budget: gradients of the unlearning.
    """
    from ofmu.data.images import Normalise

    return Recipe(
        fresh=partial(_network),
        training={"steps": steps, "batch_size": 32, "learning_rate": 3e-3},
        method=method,
        unlearning={"budget": budget, "batch_size": 32},
        shared={"transform": Normalise(MEAN, STD)},
    )


def _network(seed: int) -> Any:
    import torch

    from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNetForImageClassification(ConvNetConfig(widths=(8, 16), hidden_size=32))
