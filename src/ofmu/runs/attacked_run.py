"""A finished run as an attack sees it: which models there are, and what they and the data were when it ended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofmu.errors import InputError
from ofmu.runs import stored
from ofmu.runs.config import Evaluate, Unlearn
from ofmu.runs.directory import MANIFEST, RunDirectory, read_json
from ofmu.runs.inputs import asks_to_retrain, others


@dataclass(frozen=True)
class AttackedRun:
    """A finished run.

    Args:
        path: its folder.
        config: what it was made of.
        sources: role → where the model is, the unlearned one first.
        unlearned: fingerprint of the unlearned model when the run ended.
        inputs: option or set → hash, as the run knew them.
    """

    path: Path
    config: Unlearn | Evaluate
    sources: dict[str, Any]
    unlearned: str | None
    inputs: dict[str, str]


def read_run(path: str | os.PathLike[str]) -> AttackedRun:
    """Read the configuration of a finished unlearning or evaluation.

    Raises:
        InputError: there is no such run, it was stopped, it is of another kind, or its models or data are not files.
    """
    run = RunDirectory(path)
    if not run.path.is_dir():
        raise InputError(f"{run.path} is not a folder; give the folder of a finished run")
    if not run.config.is_file():
        raise InputError(f"{run.path} holds no run of ofmu (no {run.config.name}); give the folder of a finished run")
    command = stored.read(run.config).get("command")
    if command == "attack":
        raise InputError(f"{run.path} holds attacks themselves; give the folder of the run that they were made on")
    if command not in ("unlearn", "evaluate"):
        raise InputError(f"{run.path} holds a run of 'ofmu {command}'; only 'unlearn' and 'evaluate' can be attacked")
    if not run.finished:
        raise InputError(f"the run in {run.path} was stopped before its end (no {MANIFEST}); finish it first")
    try:
        config = stored.from_yaml(run.config)
    except InputError as error:
        if stored.IN_MEMORY in run.config.read_text(encoding="utf-8"):
            raise InputError(f"{run.path}: models or data were in memory; attacks need them as files") from error
        raise
    assert isinstance(config, Unlearn | Evaluate)
    if isinstance(config, Evaluate) and config.from_log is not None:
        raise InputError(f"{run.path} holds the scores of a log; attacks need the model itself")
    manifest = read_json(run.manifest)
    own = run.model if isinstance(config, Unlearn) else config.model
    if isinstance(config, Unlearn) and not run.model.is_dir():
        raise InputError(f"the run in {run.path} has no model folder any more; there is nothing to attack")
    inputs = manifest.get("inputs") or {}
    known = manifest.get("model_after") if isinstance(config, Unlearn) else inputs.get("model")
    return AttackedRun(run.path, config, {"unlearned": str(own), **_compared(run, config, manifest)}, known, inputs)


def _compared(run: RunDirectory, config: Unlearn | Evaluate, manifest: dict[str, Any]) -> dict[str, Any]:
    """Role → source of the models to compare with, the original first."""
    found = others(config)
    if isinstance(config, Unlearn):
        found["original"] = config.model
    if asks_to_retrain(config):
        found |= _trained(run, config, manifest)
    order = ("original", "retrained", "base")
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0].split("-")[0]), len(item[0]), item[0])))


def _trained(run: RunDirectory, config: Unlearn | Evaluate, manifest: dict[str, Any]) -> dict[str, str]:
    """The models that the run has trained itself (`--retrained auto`), as far as they lie in its cache still."""
    cache = run.cache if config.cache is None else Path(config.cache)
    made = (manifest.get("retraining") or {}).get("models") or []
    folders = [RunDirectory(cache / f"retrained-{each['key']}").model for each in made]
    there = [str(folder) for folder in folders if folder.is_dir()]
    return {"retrained" if number == 1 else f"retrained-{number}": path for number, path in enumerate(there, start=1)}
