"""How every model of an ensemble comes to be, and what it is measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofmu.data.splits import Examples
from ofmu.engine.method import Method

RETRAIN = "retrain"
"""In the place of a method: training anew without the forget examples, which is exact unlearning."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """Training and unlearning, the same for all models but for the seed.

    Args:
        fresh: a seed → a new model in memory, before any of the data; the same seed, the same weights.
        training: options of ``ofmu.finetune``: ``steps``, ``batch_size``, ``learning_rate`` …
        method: a method's name, a mapping with ``name`` and options, a method, or :data:`RETRAIN`.
        unlearning: options of ``ofmu.unlearn``: ``budget``, ``batch_size``, ``learning_rate`` …
        shared: options of both: ``transform``, ``tokenizer``, ``device`` …
    """

    fresh: Callable[[int], Any]
    training: Mapping[str, Any]
    method: str | Mapping[str, Any] | Method = "ofmu"
    unlearning: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether the method is retraining."""
        return isinstance(self.method, str) and self.method == RETRAIN


@dataclass(frozen=True)
class Material:
    """The examples of an ensemble: one pool, and positions in it.

    Args:
        pool: all examples.
        points: name → what every model is measured on.
        holdout: of the same kind as what is forgotten, trained on by no model; what methods forget towards. None: no
            holdout is given to the method.
    """

    pool: Examples
    points: Mapping[str, Indices]
    holdout: Indices | None = None


@dataclass(frozen=True)
class Job:
    """One model.

    Args:
        name: says what it is, e.g. ``"shadow 3"``; for people.
        seed: of its weights, its training and its unlearning.
        keep: positions in the pool that it is trained on and keeps.
        forget: positions that it is trained on and then unlearns; empty for a model that is only trained.
    """

    name: str
    seed: int
    keep: Indices
    forget: Indices


def seed_of(*names: str | int) -> int:
    """A seed in 0 … 10^9 − 1 that depends on the names alone.

    >>> seed_of(0, "shadow", 1) != seed_of(0, "shadow", 2)
    True
    """
    digest = hashlib.blake2b("\n".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % 10**9


def generator(*names: str | int) -> np.random.Generator:
    """A generator that depends on the names alone."""
    return np.random.Generator(np.random.Philox(seed_of(*names)))


def positions(values: Sequence[int] | Indices) -> Indices:
    """Positions in rising order: no order tells what is special about an example."""
    return np.sort(np.asarray(values, dtype=np.int64))
