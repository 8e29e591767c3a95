"""Training a model on data: the models before unlearning, and the retrained yardstick."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ofmu.data.formats import read
from ofmu.data.images import Transform
from ofmu.engine.forward import Encoded
from ofmu.engine.pace import Pace, default_learning_rate
from ofmu.engine.processes import Processes, processes
from ofmu.engine.training import Training
from ofmu.engine.work import Work
from ofmu.errors import InputError, RunError
from ofmu.models.adapters import merge
from ofmu.models.loaded import Loaded
from ofmu.runs import manifest, stored
from ofmu.runs.card import training_card
from ofmu.runs.claim import Claim
from ofmu.runs.config import Finetune
from ofmu.runs.directory import RunDirectory, write_text
from ofmu.runs.finishing import save_and_reload
from ofmu.runs.history import History
from ofmu.runs.identity import Identity
from ofmu.runs.inputs import encoder, read_model
from ofmu.runs.listener import Listener, Silent
from ofmu.runs.loop import Loop
from ofmu.runs.result import Result
from ofmu.runs.setup import adapt, trainable
from ofmu.runs.trackers import Tracker


def finetune(
    config: Finetune,
    output: str | os.PathLike[str],
    *,
    resume: bool = False,
    listener: Listener | None = None,
    transform: Transform | None = None,
    claimed: bool = False,
) -> Result:
    """Train, and write the run's folder.

    Args:
        config: what to do, every option valid.
        output: the folder; new or empty, or with `resume` one that holds a stopped run of this configuration.
        resume: go on from the newest checkpoint.
        listener: is told how it goes; on the main process only.
        transform: of images, in the place of the model's own processor.
        claimed: the caller keeps other runs out of the folder already.

    Returns:
        The finished run.

    Raises:
        InputError: something given cannot be used; nothing was written.
        RunError: the run failed on its way; the folder can be resumed.
        Interrupted: the user stopped it; a checkpoint was left.
    """
    directory = RunDirectory(output)
    directory.check_resumable() if resume else directory.check_new()
    with processes(device=config.device, precision=config.precision, parallel=config.parallel) as ranks:
        heard = listener if listener is not None and ranks.main else Silent()
        torch.manual_seed(config.seed)
        heard.note("reading model and data")
        with Claim(directory.path, ranks, held=claimed) as claim:
            if resume:
                claim.take()
            loaded = read_start(config)
            with loaded.handed_back():
                try:
                    return _run(config, directory, ranks, heard, loaded, transform, claim, resume=resume)
                except OSError as error:
                    place = error.filename or directory.path
                    raise RunError(f"{place}: {(error.strerror or str(error)).lower()}") from error


def planned_steps(config: Finetune, examples: int) -> int:
    """Steps of a training, each one gradient: as stated, or passes over the examples."""
    return config.steps or max(1, math.ceil(config.epochs * examples / config.batch_size))


def read_start(config: Finetune) -> Loaded:
    """The model to train; random weights where a configuration is given instead of one.

    Raises:
        InputError: it cannot be read.
    """
    source = config.model
    is_config = isinstance(source, str | os.PathLike) and _holds_no_weights(os.fspath(source))
    return read_model(source, config, random_weights=is_config)


def _holds_no_weights(source: str) -> bool:
    if os.path.isfile(source):
        return source.endswith(".json")
    if not os.path.isfile(os.path.join(source, "config.json")):
        return False
    weights = (".safetensors", ".bin", ".pt", ".pth", ".index.json")
    return not any(name.endswith(weights) for name in os.listdir(source))


def _run(
    config: Finetune,
    directory: RunDirectory,
    ranks: Processes,
    listener: Listener,
    loaded: Loaded,
    transform: Transform | None,
    claim: Claim,
    *,
    resume: bool,
) -> Result:
    examples = read(config.data, name="data", format=config.format, cluster_by=config.cluster_by)
    if examples.modality != loaded.modality:
        kinds = {"text": "texts", "image": "images"}
        raise InputError(f"the data hold {kinds[examples.modality]}, but {loaded.name} is for {kinds[loaded.modality]}")
    data = encoder(loaded, config.max_length, transform)(examples)
    identity = Identity({"model": loaded.fingerprint, "data": data.fingerprint})
    if resume:
        identity.check(directory)
        stored.check_same(directory.config, config)
    loaded = adapt(loaded, config)
    work = _work(config, loaded, data, ranks)
    listener.started(_plan(work, loaded, data))
    if not resume:
        claim.make()
    if ranks.main and not resume:
        complete = replace(config, micro_batch_size=work.part_size)
        write_text(directory.config, stored.to_yaml(complete, identity.hashes))
    if ranks.main:
        identity.save(directory)
    ranks.wait()
    loop = _train(config, directory, ranks, listener, work, resume=resume)
    return _finish(config, directory, ranks, loaded, work, loop, identity)


def _work(config: Finetune, loaded: Loaded, data: Encoded, ranks: Processes) -> Work:
    learning_rate = config.learning_rate or default_learning_rate(loaded.model)
    steps = planned_steps(config, len(data.ids))
    model = ranks.place(loaded.model)
    model.train()
    return Work(
        model=model,
        parameters=trainable(ranks.unwrap(model)),
        data={"data": data},
        processes=ranks,
        pace=Pace(learning_rate, steps, fixed=True),
        batch_size=config.batch_size,
        part_size=config.micro_batch_size or math.ceil(config.batch_size / ranks.world),
        seed=config.seed,
    )


def _plan(work: Work, loaded: Loaded, data: Encoded) -> dict[str, Any]:
    return {
        "model": loaded.name,
        "modality": loaded.modality,
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "trained": sum(p.numel() for p in work.parameters.values()),
        "method": "finetune",
        "examples": {"data": len(data.ids)},
        "learning_rate": work.pace.learning_rate,
        "steps": work.pace.steps,
        "batch_size": work.batch_size,
        "micro_batch_size": work.part_size,
        "gradients": float(work.pace.steps),
    }


def _train(
    config: Finetune,
    directory: RunDirectory,
    ranks: Processes,
    listener: Listener,
    work: Work,
    *,
    resume: bool,
) -> Loop:
    training = Training(work, weight_decay=config.weight_decay, max_grad_norm=config.max_grad_norm)
    loop = Loop(
        run=directory,
        task=work,
        process=training,
        listener=listener,
        tracker=Tracker(config.log_to, ranks, directory.path, {"learning_rate": work.pace.learning_rate}),
        budget=None,
        step_cost=1.0,
        check_every=None,
        checkpoint_seconds=config.checkpoint_every,
        checkpoint_steps=config.checkpoint_steps,
    )
    if resume:
        loop.resume()
    loop.go()
    work.model.eval()
    return loop


def _finish(
    config: Finetune,
    directory: RunDirectory,
    ranks: Processes,
    loaded: Loaded,
    work: Work,
    loop: Loop,
    identity: Identity,
) -> Result:
    card = training_card(loaded.name, identity.hashes, work.pace.steps, config.batch_size)
    save = partial(save_and_reload, loaded, work.model, directory.model, ranks, config)
    after = save(card=card, merged=config.lora.merge)
    cost = loop.cost()
    facts = {
        "command": "finetune",
        "ended": loop.ended(),
        "inputs": identity.hashes,
        "model_after": after.fingerprint,
        "seed": config.seed,
        **cost,
        "peak_memory_mb": manifest.peak_memory_mb(),
        "resumed_at_steps": loop.resumed_at,
        "processes": ranks.world,
        "environment": manifest.environment(str(ranks.device)),
    }
    written = manifest.write(directory, facts) if ranks.main else facts
    if ranks.main:
        loop.forget_checkpoints()
    ranks.wait()
    model = ranks.unwrap(loaded.model)
    if loaded.in_memory and loaded.adapter and not loaded.came_as_adapter:
        model = merge(loaded).model
    return Result(
        path=directory.path,
        model=model,
        metrics={},
        history=History(directory.history).read(),
        manifest=written,
        report=None,
    )
