"""KLoM's three groups of models: oracles that never saw the forget set, originals that did, and these unlearned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofmu.errors import InputError
from ofmu.evaluation.phi import phi
from ofmu.evaluation.statistics import Floats
from ofmu.runs.ensembles.making import Made, Maker
from ofmu.runs.ensembles.recipe import Indices, Job, Material, Recipe, seed_of


@dataclass(frozen=True, eq=False)
class Groups:
    """φ of the points of each set under the models of three groups.

    Args:
        clusters: set → the cluster of each of its P points.
        oracles: set → (2N, P), trained on the retain set only.
        unlearned: set → (N, P), trained on everything, then unlearned.
        originals: set → (N, P), the same models before unlearning; None for exact unlearning, which has none.
        seconds: group → wall seconds.
    """

    clusters: dict[str, tuple[str, ...]]
    oracles: dict[str, Floats]
    unlearned: dict[str, Floats]
    originals: dict[str, Floats] | None
    seconds: dict[str, float]


def oracles_and_unlearned(
    recipe: Recipe,
    material: Material,
    *,
    forget: Indices,
    retain: Indices,
    count: int,
    seed: int = 0,
    folder: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Groups:
    """Train 2N oracles, and train and unlearn N models; every model has its own seed.

    Args:
        recipe: how models are made.
        material: pool, points by set (forget, retain, validation …) and holdout.
        forget: positions of the whole forget set; no model unlearns a part of it (fault F18).
        retain: positions of the retain set.
        count: N ≥ 2; twice as many oracles, so that the null has as many models on either side.
        seed: of the models.
        folder: where records are kept and looked for; None: nowhere.
        tell: is told what is going on.

    Raises:
        InputError: fewer than two models.
        RunError: a training or unlearning failed; what was made stays in the folder.
    """
    if count < 2:
        raise InputError(f"{count} unlearned models: at least 2 are needed")
    maker, nothing = Maker(recipe, material, folder), np.zeros(0, np.int64)
    oracles, unlearned = [], []
    for number in range(2 * count):
        tell(f"oracle {number + 1} of {2 * count}")
        oracles.append(maker.make(Job(f"oracle {number}", seed_of(seed, "oracle", number), retain, nothing)))
    for number in range(count):
        tell(f"unlearned model {number + 1} of {count}")
        unlearned.append(maker.make(Job(f"model {number}", seed_of(seed, "model", number), retain, forget)))
    sets = {name: material.pool.take(where.tolist()) for name, where in material.points.items()}
    return Groups(
        clusters={name: tuple(found.clusters) for name, found in sets.items()},
        oracles=_stacked(oracles, "trained", list(sets)),
        unlearned=_stacked(unlearned, "unlearned", list(sets)),
        originals=None if recipe.exact else _stacked(unlearned, "trained", list(sets)),
        seconds={
            "oracles": _seconds(oracles, "trained"),
            "originals": _seconds(unlearned, "trained"),
            "unlearning": _seconds(unlearned, "unlearned"),
        },
    )


def _stacked(models: list[Made], stage: str, sets: list[str]) -> dict[str, Floats]:
    return {name: np.stack([phi(made.records[stage, name]) for made in models]) for name in sets}


def _seconds(models: list[Made], stage: str) -> float:
    return sum(made.cost.get(stage, {}).get("seconds", 0.0) for made in models)
