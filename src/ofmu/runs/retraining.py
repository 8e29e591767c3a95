"""``--retrained auto``: models trained on the retain set alone, each trained once and then taken from the cache.

Source: METRICS.md §9, the yardstick r. A retrained model is the start (``--base``, or what the recipe started from)
fine-tuned on the retain set by the recipe; seeds are the recipe's own and those after it.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from ofmu.data.images import Transform
from ofmu.engine.pace import default_learning_rate
from ofmu.engine.processes import Processes
from ofmu.errors import InputError, RunError
from ofmu.models.loaded import Loaded
from ofmu.runs import manifest, stored
from ofmu.runs.claim import Claim
from ofmu.runs.config import Finetune
from ofmu.runs.directory import RunDirectory, read_json
from ofmu.runs.finetune import finetune, planned_steps, read_start
from ofmu.runs.inputs import Sets, asks_to_retrain, encoder
from ofmu.runs.listener import Listener
from ofmu.runs.recipe import recipe

LEARNS = ("batch_size", "weight_decay", "max_grad_norm", "precision", "lora")
"""Options that decide, beside steps and step size, what a training learns."""


@dataclass(frozen=True)
class Retraining:
    """One retrained model that is wanted.

    Args:
        config: the fine-tuning, its seed included.
        key: sha256 of start, recipe, data and seed, 32 digits.
        steps: of the training.
        gradients: what they cost; a batch larger than the data counts by its share.
        folder: where it is, or will be; None while nothing may be written.
    """

    config: Finetune
    key: str
    steps: int
    gradients: float
    folder: Path | None

    @property
    def cached(self) -> bool:
        """Whether it has been trained already."""
        return self.folder is not None and RunDirectory(self.folder).finished


@dataclass(frozen=True)
class Retrained:
    """The models, trained or found.

    Args:
        sources: a model each: its folder; the module itself where a folder could not be read again.
        facts: for the manifest: seeds, fingerprints, gradients and seconds spent now, what came from the cache.
        note: the same in a line, for people.
    """

    sources: tuple[Any, ...]
    facts: dict[str, Any]
    note: str


def cache_folder(config: Any, directory: RunDirectory) -> Path:
    """Where a run keeps what can be used again: ``--cache``, else its own folder."""
    return directory.cache if config.cache is None else Path(config.cache)


def planned(
    config: Any, loaded: Loaded, sets: Sets, *, cache: Path | None, transform: Transform | None = None
) -> tuple[Retraining, ...]:
    """What ``--retrained auto`` asks for; nothing is trained or written.

    Args:
        config: an :class:`~ofmu.runs.config.Unlearn` or :class:`~ofmu.runs.config.Evaluate`.
        loaded: the model that is unlearned or measured.
        sets: its examples.
        cache: folder of the models; None: none is looked for.
        transform: of images.

    Returns:
        A retraining for each seed; none if they were not asked for, or nothing is measured.

    Raises:
        InputError: the recipe or its start cannot be used, or options are given that only it reads.
    """
    if not asks_to_retrain(config):
        _check_unused(config)
        return ()
    if not getattr(config, "evaluation", True):
        return ()
    wanted = recipe(config, sets.examples["retain"], loaded.tokenizer)
    identity, size = _identity(wanted, loaded.modality, sets, transform)
    steps = planned_steps(wanted, size)
    gradients = steps * min(1.0, size / wanted.batch_size)
    found = []
    for number in range(config.retrained_seeds):
        one = replace(wanted, seed=wanted.seed + number)
        key = hashlib.sha256(json.dumps(identity | {"seed": one.seed}, sort_keys=True).encode()).hexdigest()[:32]
        found.append(Retraining(one, key, steps, gradients, None if cache is None else cache / f"retrained-{key}"))
    return tuple(found)


def forecast(wanted: Sequence[Retraining]) -> dict[str, Any] | None:
    """What a retraining would cost, for a plan; None if none is wanted."""
    if not wanted:
        return None
    cached = sum(each.cached for each in wanted)
    return {
        "models": len(wanted),
        "cached": cached,
        "steps": wanted[0].steps,
        "gradients": float(sum(each.gradients for each in wanted if not each.cached)),
    }


def retrain(
    wanted: Sequence[Retraining], ranks: Processes, listener: Listener, transform: Transform | None = None
) -> Retrained:
    """Train what the cache does not have.

    Args:
        wanted: from :func:`planned`, with folders.
        ranks: the processes of the run that asks.
        listener: is told how it goes.
        transform: of images.

    Raises:
        RunError: a training failed, or what lies in the cache is damaged.
        Interrupted: the user stopped it; it goes on from its checkpoint when it is asked for again.
    """
    models, spent, seconds = [], 0.0, 0.0
    for number, each in enumerate(wanted, start=1):
        assert each.folder is not None
        if ranks.main:
            each.folder.mkdir(parents=True, exist_ok=True)
        with Claim(each.folder, ranks) as claim:
            claim.wait()  # runs that share a cache train a model once: the second one finds it
            was_there = each.cached
            if was_there:
                _check_whole(each.folder)
            else:
                listener.note(f"retraining {number} of {len(wanted)} (seed {each.config.seed})")
                _train(each, ranks, listener, transform)
        made: dict[str, Any] = read_json(RunDirectory(each.folder).manifest)
        spent += 0.0 if was_there else made["gradients"]
        seconds += 0.0 if was_there else made["seconds"]
        models.append({"seed": each.config.seed, "key": each.key, "model": made["model_after"], "cached": was_there})
    facts = {"steps": wanted[0].steps, "gradients": spent, "seconds": round(seconds, 3), "models": models}
    note = _note(wanted, models, spent)
    listener.note(note)
    return Retrained(tuple(_source(each) for each in wanted), facts, note)


def _check_unused(config: Any) -> None:
    given = [flag for flag, value in (("--recipe", config.recipe is not None),
                                      ("--retrained-seeds", config.retrained_seeds != 1)) if value]  # fmt: skip
    if given:
        raise InputError(f"{given[0]} is given without --retrained auto, which alone reads it")


def _identity(wanted: Finetune, modality: str, sets: Sets, transform: Transform | None) -> tuple[dict[str, Any], int]:
    """What makes two retrainings the same but for their seed, and how many examples they are trained on."""
    with torch.random.fork_rng():
        torch.manual_seed(0)  # random weights of a configuration: the same ones each time
        start = read_start(wanted)
    with start.handed_back():
        if start.modality != modality:
            raise InputError(f"--retrained auto: {start.name} is for {start.modality}s, the examples are {modality}s")
        data = encoder(start, wanted.max_length, transform)(sets.examples["retain"])
        rate = wanted.learning_rate or default_learning_rate(start.model)
    steps = planned_steps(wanted, len(data.ids))
    options = {name: value for name, value in stored.plain(wanted).items() if name in LEARNS}
    trained = {"start": start.fingerprint, "data": data.fingerprint, "steps": steps, "learning_rate": f"{rate:.6g}"}
    return trained | options, len(data.ids)


def _train(each: Retraining, ranks: Processes, listener: Listener, transform: Transform | None) -> None:
    """Train into the folder, or go on where a training was stopped."""
    assert each.folder is not None
    config = each.config
    if isinstance(config.model, nn.Module):
        config = replace(config, model=copy.deepcopy(config.model))  # it is trained in place
    resume = RunDirectory(each.folder).config.is_file()
    ranks.wait()  # every process has looked before one of them writes
    finetune(config, each.folder, resume=resume, listener=listener, transform=transform, claimed=True)


def _source(each: Retraining) -> Any:
    """The model as a run can be given it."""
    assert each.folder is not None
    folder, start = RunDirectory(each.folder).model, each.config.model
    named = any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
    if named or not isinstance(start, nn.Module):
        return str(folder)
    module = copy.deepcopy(start)  # no folder can name the class of a plain module
    module.load_state_dict(load_file(folder / "model.safetensors"))
    return module


def _check_whole(folder: Path) -> None:
    wrong = manifest.verify(folder)
    if wrong:
        raise RunError(f"the retrained model in {folder} is damaged ({wrong[0]}); delete the folder and start again")


def _note(wanted: Sequence[Retraining], models: Sequence[dict[str, Any]], spent: float) -> str:
    cached = sum(model["cached"] for model in models)
    several = f"{len(models)} models, each" if len(models) > 1 else "a model"
    how = f"{several} trained on the retain set alone, {wanted[0].steps:,} steps"
    there = f"{cached} from the cache, " if cached else ""
    return f"retrained: {how}; {there}{spent:,.0f} gradients spent now"
