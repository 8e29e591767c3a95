"""U-LiRA's shadow models, the cheap way: random forget sets in complementary pairs, shared by all targets.

In each pair of models the targets are halved at random. One model is trained on the first half (and on what all models
keep) and unlearns it; the other does the same with the second half. So every target is trained on and unlearned (arm 1)
in one model of each pair and never seen (arm 0) in the other, all forget sets are of one size, and each model serves
all targets at once.

Source: METRICS.md §8 (U-LiRA, the ``cheap`` variant). Differs: no model is spent on the attack alone; a pair is
    attacked with normals fitted on the other pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofmu.errors import InputError
from ofmu.evaluation.phi import phi
from ofmu.evaluation.statistics import Floats
from ofmu.runs.ensembles.making import Maker
from ofmu.runs.ensembles.recipe import Indices, Job, Material, Recipe, generator, seed_of

Arms = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Shadows:
    """φ of n targets under K models.

    Args:
        ids: of the targets.
        clusters: of the targets.
        arm: (K, n), 1: trained on and unlearned, 0: never seen.
        folds: (K,), the pair of each model.
        unlearned: (K, n), φ after the method.
        trained: (K, n), φ before it: what the attack finds where nothing is unlearned; None for exact unlearning.
        seconds: stage → wall seconds of all models.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    arm: Arms
    folds: tuple[int, ...]
    unlearned: Floats
    trained: Floats | None
    seconds: dict[str, float]


def shadow_models(
    recipe: Recipe,
    material: Material,
    *,
    targets: Indices,
    keep: Indices,
    count: int = 16,
    seed: int = 0,
    folder: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Shadows:
    """Train and unlearn K shadow models, and measure φ of all targets.

    Args:
        recipe: how models are made.
        material: the pool and the holdout; its points are replaced by the targets.
        targets: positions in the pool that are attacked; their clusters are halved.
        keep: positions that every model is trained on and keeps.
        count: K, even and ≥ 4.
        seed: of forget sets and models.
        folder: where records are kept and looked for; None: nowhere.
        tell: is told what is going on.

    Raises:
        InputError: the number of models or of clusters is odd or too small.
        RunError: a training or unlearning failed; what was made stays in the folder.
    """
    chosen = material.pool.take(targets.tolist())
    arm = complementary(chosen.clusters, count, seed)
    maker = Maker(recipe, Material(material.pool, {"targets": targets}, material.holdout), folder)
    values: dict[str, list[Floats]] = {"trained": [], "unlearned": []}
    seconds = dict.fromkeys(values, 0.0)
    for number, own in enumerate(arm):
        tell(f"shadow model {number + 1} of {count}")
        made = maker.make(Job(f"shadow {number}", seed_of(seed, "shadow", number), keep, targets[own == 1]))
        for (stage, _), record in made.records.items():
            values[stage].append(_in_order(phi(record), record.ids, chosen.ids))
            seconds[stage] += made.cost[stage]["seconds"]
    return Shadows(
        ids=tuple(chosen.ids),
        clusters=tuple(chosen.clusters),
        arm=arm,
        folds=tuple(number // 2 for number in range(count)),
        unlearned=np.stack(values["unlearned"]),
        trained=np.stack(values["trained"]) if values["trained"] else None,
        seconds=seconds,
    )


def complementary(clusters: Sequence[str], count: int, seed: int) -> Arms:
    """Random halves of the clusters, in complementary pairs of models: (K, n), each column with K/2 ones.

    Args:
        clusters: the cluster of each of n targets; one cluster is in one half.
        count: K, even and ≥ 4.
        seed: of the halves; the first pairs do not depend on K.

    Raises:
        InputError: K is odd or below 4, or the number of clusters is odd: forget sets would differ in size.
    """
    if count < 4 or count % 2:
        raise InputError(f"{count} shadow models: an even number of at least 4 is needed, they come in pairs")
    names = list(dict.fromkeys(clusters))
    if len(names) < 2 or len(names) % 2:
        raise InputError(
            f"{len(names)} clusters of targets: an even number is needed, half of them is forgotten at a time"
        )
    number = {name: place for place, name in enumerate(names)}
    owner = np.array([number[cluster] for cluster in clusters])
    rows = []
    for pair in range(count // 2):
        first = np.zeros(len(names), dtype=np.int8)
        first[generator(seed, "halves", pair).permutation(len(names))[: len(names) // 2]] = 1
        rows += [first[owner], 1 - first[owner]]
    return np.stack(rows).astype(np.int8)


def _in_order(values: Floats, ids: Sequence[str], wanted: Sequence[str]) -> Floats:
    """Values by id in the order wanted, NaN where a model could not be measured on an example."""
    known = dict(zip(ids, values.tolist()))
    return np.array([known.get(name, np.nan) for name in wanted])
