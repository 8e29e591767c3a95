"""Making one model of an ensemble: train, measure, unlearn, measure; or read what was measured of it before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from torch import nn

from ofmu.engine.forward import Encoded
from ofmu.evaluation.record import Record
from ofmu.evaluation.scoring import score
from ofmu.models.loading import load
from ofmu.models.weights import fingerprint
from ofmu.runs.config import Unlearn
from ofmu.runs.directory import read_json, write_json
from ofmu.runs.ensembles.recipe import Indices, Job, Material, Recipe, positions
from ofmu.runs.inputs import encoder
from ofmu.runs.python import finetune, unlearn
from ofmu.runs.result import Result
from ofmu.runs.stored import as_mapping, build, plain_method
from ofmu.version import __version__

Stage = Literal["trained", "unlearned"]

SEEN = ("transform", "tokenizer")
"""Shared options that show in the fingerprints of the points, and need not have a text of their own."""
BATCH = 256
"""Examples of a forward pass while measuring."""


@dataclass(frozen=True, eq=False)
class Made:
    """What is known of a model after it is gone.

    Args:
        records: (stage, set of points) → record; ``trained`` is missing for exact unlearning, ``unlearned`` for a model
            that was only trained.
        cost: stage → seconds and gradients, as the runs counted them.
    """

    records: Mapping[tuple[str, str], Record]
    cost: Mapping[str, Mapping[str, float]]


class Maker:
    """Makes the models of one recipe on one material, and keeps what was measured of each in a folder.

    A model's files are named by a hash of everything that it depends on: recipe, seed, initial weights, the examples of
    all its sets, this version. So a stopped ensemble goes on where it was, a larger one takes over the models of a
    smaller one, and no other recipe's models can be taken for these. The weights are not kept.

    Args:
        recipe: how models are made.
        material: of what.
        folder: where records are kept; None: nowhere.

    Raises:
        InputError: an option of the recipe cannot be used.
    """

    def __init__(self, recipe: Recipe, material: Material, folder: Path | None = None):
        self.recipe, self.material, self.folder = recipe, material, folder
        self._points: dict[str, Encoded] = {}
        if not recipe.exact:
            build("unlearn", {"model": "", **_without_objects(self._unlearning)}, source="recipe")
        build("finetune", {"model": "", "data": "", **_without_objects(self._training)}, source="recipe")

    def make(self, job: Job) -> Made:
        """The model of a job, measured.

        Raises:
            RunError: training or unlearning failed.
        """
        model = self.recipe.fresh(job.seed)
        points = self._encoded(model)
        key = self._key(job, model, points)
        known = self._read(key, points)
        if known is not None:
            return known
        records: dict[tuple[str, str], Record] = {}
        cost: dict[str, dict[str, float]] = {}
        for stage, run in self._stages(job, model):
            cost[stage] = {name: run.manifest[name] for name in ("seconds", "gradients")}
            for name, encoded in points.items():
                records[stage, name] = score(
                    run.model, encoded, batch_size=BATCH, fingerprint=run.manifest["model_after"]
                )
        made = Made(records, cost)
        self._write(key, made)
        return made

    def _stages(self, job: Job, model: nn.Module) -> Iterator[tuple[Stage, Result]]:
        """The run of the training, then that of the unlearning, which changes the same model in place."""
        pool, unlearns = self.material.pool, bool(len(job.forget))
        keep, forget = positions(job.keep), positions(job.forget)
        if not (unlearns and self.recipe.exact):
            both = positions([*keep, *forget])
            trained = finetune(model, pool.take(both.tolist()), seed=job.seed, **self._training)
            model = trained.model  # another object where an adapter was merged
            yield "trained", trained
        if unlearns and self.recipe.exact:
            yield "unlearned", finetune(model, pool.take(keep.tolist()), seed=job.seed, **self._training)
        elif unlearns:
            sets = {"forget": pool.take(forget.tolist()), "retain": pool.take(keep.tolist())}
            if self.material.holdout is not None:
                sets["holdout"] = pool.take(self.material.holdout.tolist())
            yield "unlearned", unlearn(model, **sets, seed=job.seed, evaluation=False, **self._unlearning)

    @property
    def _training(self) -> dict[str, Any]:
        return {**self.recipe.shared, **self.recipe.training}

    @property
    def _unlearning(self) -> dict[str, Any]:
        return {**self.recipe.shared, **self.recipe.unlearning, "method": self.recipe.method}

    def _encoded(self, model: nn.Module) -> dict[str, Encoded]:
        """The points as this model's batches; made once, as all models of a recipe read alike."""
        if not self._points:
            shared = self.recipe.shared
            loaded = load(model, tokenizer=shared.get("tokenizer"))
            with loaded.handed_back():
                encode = encoder(loaded, self._training.get("max_length"), shared.get("transform"))
                self._points = {
                    name: encode(self.material.pool.take(where.tolist()))
                    for name, where in self.material.points.items()
                }
        return self._points

    @cached_property
    def _method(self) -> Any:
        method = self.recipe.method
        if self.recipe.exact:
            return method
        config = cast(Unlearn, build("unlearn", {"model": "", "method": method}))
        return plain_method(config.method)

    def _key(self, job: Job, model: nn.Module, points: Mapping[str, Encoded]) -> str:
        unlearns = bool(len(job.forget))
        facts = {
            "ofmu": __version__,
            "weights": fingerprint(model),
            "seed": job.seed,
            "shared": {name: text for name, text in _plain(self.recipe.shared).items() if name not in SEEN},
            "training": _plain(self.recipe.training),
            "method": self._method if unlearns else None,
            "unlearning": _plain(self.recipe.unlearning) if unlearns else None,
            "keep": self._data(job.keep),
            "forget": self._data(job.forget),
            "holdout": self._data(self.material.holdout) if unlearns and self.material.holdout is not None else None,
            "points": {name: found.fingerprint for name, found in points.items()},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def _data(self, where: Indices) -> str | None:
        """Hash of the examples at these positions."""
        return self.material.pool.take(positions(where).tolist()).fingerprint if len(where) else None

    def _write(self, key: str, made: Made) -> None:
        """Records first, the list of them last: what has no list is not there."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for (stage, name), record in made.records.items():
            record.to_parquet(self.folder / f"{key}.{stage}.{name}.parquet")
        write_json(self.folder / f"{key}.json", {"stages": list(made.cost), "cost": made.cost})

    def _read(self, key: str, points: Mapping[str, Encoded]) -> Made | None:
        path = None if self.folder is None else self.folder / f"{key}.json"
        if path is None or not path.is_file():
            return None
        found = read_json(path)
        records = {
            (stage, name): Record.from_parquet(path.with_name(f"{key}.{stage}.{name}.parquet"))
            for stage in found["stages"]
            for name in points
        }
        return Made(records, found["cost"])


def _without_objects(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a configuration takes them: a transform is no option of it."""
    return {
        name: as_mapping(value) if name == "method" else value for name, value in options.items() if name != "transform"
    }


def _plain(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in options.items()}
