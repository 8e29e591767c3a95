"""One unlearning from configuration to folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ofmu.data.images import Transform
from ofmu.engine.processes import Processes, processes
from ofmu.errors import RunError
from ofmu.evaluation.evaluate import summarise
from ofmu.evaluation.metrics import with_further
from ofmu.evaluation.records import Records
from ofmu.models.adapters import merge
from ofmu.models.loaded import Loaded
from ofmu.runs import manifest, retraining, stored
from ofmu.runs.card import model_card
from ofmu.runs.claim import Claim
from ofmu.runs.config import Unlearn
from ofmu.runs.directory import RunDirectory, write_json, write_text
from ofmu.runs.drawing import draw_report
from ofmu.runs.finishing import After, save_and_reload
from ofmu.runs.history import History
from ofmu.runs.identity import Identity
from ofmu.runs.inputs import Sets, check_others, read_model, read_sets
from ofmu.runs.listener import Listener, Silent
from ofmu.runs.loop import Loop
from ofmu.runs.measuring import measure, measure_others, reported, save_records
from ofmu.runs.plan import Plan
from ofmu.runs.result import Result
from ofmu.runs.retraining import Retrained, Retraining, retrain
from ofmu.runs.setup import Setup, adapt, prepare
from ofmu.runs.trackers import Tracker


@dataclass
class _Run:
    """What the stages of one run share."""

    config: Unlearn
    directory: RunDirectory
    processes: Processes
    listener: Listener
    loaded: Loaded
    sets: Sets
    setup: Setup
    identity: Identity
    records: Records
    wanted: tuple[Retraining, ...]
    transform: Transform | None
    retrained: Retrained | None = None


def unlearn(
    config: Unlearn,
    output: str | os.PathLike[str],
    *,
    resume: bool = False,
    listener: Listener | None = None,
    transform: Transform | None = None,
) -> Result:
    """Unlearn, measure before and after, and write the run's folder.

    Args:
        config: what to do, every option valid.
        output: the folder; new or empty, or with `resume` one that holds a stopped run of this configuration.
        resume: go on from the newest checkpoint.
        listener: is told how it goes; on the main process only.
        transform: of images, in the place of the model's own processor.

    Returns:
        The finished run.

    Raises:
        InputError: something given cannot be used; nothing was written.
        RunError: the run failed on its way; the folder can be resumed.
        Interrupted: the user stopped it; a checkpoint was left.
    """
    directory = RunDirectory(output)
    directory.check_resumable() if resume else directory.check_new()
    with_further(config.metrics)  # what cannot be loaded is said now, not after hours
    with processes(device=config.device, precision=config.precision, parallel=config.parallel) as ranks:
        heard = listener if listener is not None and ranks.main else Silent()
        with Claim(directory.path, ranks) as claim:
            if resume:
                claim.take()
            run = _begin(config, directory, ranks, heard, transform, claim, resume=resume)
            with run.loaded.handed_back():
                try:
                    return _finish(run, _train(run, resume=resume))
                except OSError as error:
                    place = error.filename or directory.path
                    raise RunError(f"{place}: {(error.strerror or str(error)).lower()}") from error


def plan(config: Unlearn, *, transform: Transform | None = None) -> Plan:
    """Check all input and forecast what the run would do and cost; nothing is written.

    Raises:
        InputError: something given cannot be used.
    """
    with_further(config.metrics)
    with processes(device=config.device, precision=config.precision, parallel=config.parallel) as ranks:
        torch.manual_seed(config.seed)
        loaded = read_model(config.model, config)
        with loaded.handed_back():
            sets = read_sets(config, loaded, transform=transform)
            check_others(config, loaded, sets)
            cache = None if config.cache is None else Path(config.cache)
            wanted = retraining.planned(config, loaded, sets, cache=cache, transform=transform)
            setup = prepare(config, adapt(loaded, config), sets, ranks, cache=None)
            return replace(Plan.of(setup, sets, config, timed=True), retraining=retraining.forecast(wanted))


def _begin(
    config: Unlearn,
    directory: RunDirectory,
    ranks: Processes,
    listener: Listener,
    transform: Transform | None,
    claim: Claim,
    *,
    resume: bool,
) -> _Run:
    """Read and check everything; only then make the folder."""
    torch.manual_seed(config.seed)
    listener.note("reading model and data")
    loaded = read_model(config.model, config)
    with loaded.handed_back_on_error():
        sets = read_sets(config, loaded, transform=transform)
        check_others(config, loaded, sets)
        identity = Identity.of(loaded, sets)
        if resume:
            identity.check(directory)
            stored.check_same(directory.config, config)
        cache = retraining.cache_folder(config, directory)
        wanted = retraining.planned(config, loaded, sets, cache=cache, transform=transform)
        loaded = adapt(loaded, config)
        setup = prepare(config, loaded, sets, ranks, cache=cache, tell=listener.note)
        for note in setup.notes:
            listener.note(note)
        listener.started(replace(Plan.of(setup, sets, config), retraining=retraining.forecast(wanted)).as_dict())
        if not resume:
            claim.make()
        if ranks.main and not resume:
            complete = replace(config, method=setup.method, micro_batch_size=setup.task.part_size)
            write_text(directory.config, stored.to_yaml(complete, identity.hashes))
        if ranks.main:
            identity.save(directory)
        ranks.wait()
    records = Records(removed_classes=sets.removed_labels)
    return _Run(config, directory, ranks, listener, loaded, sets, setup, identity, records, wanted, transform)


def _train(run: _Run, *, resume: bool) -> Loop:
    task, config = run.setup.task, run.config
    if config.evaluation:
        run.listener.note("measuring the model before")
        _record(run, "original", task.model, run.loaded.fingerprint)
    process = run.setup.method.start(task)
    tracker = Tracker(config.log_to, run.processes, run.directory.path, stored.plain_method(run.setup.method))
    loop = Loop(
        run=run.directory,
        task=task,
        process=process,
        listener=run.listener,
        tracker=tracker,
        budget=config.budget,
        step_cost=run.setup.step_cost,
        check_every=run.setup.check_every,
        checkpoint_seconds=config.checkpoint_every,
        checkpoint_steps=config.checkpoint_steps,
    )
    if resume:
        loop.resume()
    loop.go()
    return loop


def _finish(run: _Run, loop: Loop) -> Result:
    """Save, read back, measure, report; the manifest last."""
    directory, config, ranks = run.directory, run.config, run.processes
    run.listener.note("saving the model")
    after = save_and_reload(
        run.setup.loaded,
        run.setup.task.model,
        directory.model,
        ranks,
        config,
        card=model_card(run.setup, run.identity),
        merged=config.lora.merge,
    )
    cost = loop.cost()
    metrics, compared = _measured(run, after, cost) if config.evaluation else ({}, {})
    facts = _facts(run, loop, after, compared, cost)
    history = History(directory.history).read()
    written = facts
    if ranks.main:
        written = _write(run, metrics, facts, history)
        loop.forget_checkpoints()
    ranks.wait()
    return Result(
        path=directory.path,
        model=_handed_back(run),
        metrics=metrics,
        history=history,
        manifest=written,
        report=directory.report if config.evaluation else None,
        notes=run.setup.notes,
    )


def _facts(run: _Run, loop: Loop, after: After, compared: dict[str, str], cost: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says besides the hashes of the files."""
    levels, retrained = run.setup.task.levels, run.retrained
    facts = {
        "command": "unlearn",
        "ended": loop.ended(),
        "inputs": run.identity.hashes,
        "compared": compared,
        "model_after": after.fingerprint,
        "levels": None if levels is None else levels.source,
        "steered_by": run.sets.steering_ids(run.config.seed),
        "seed": run.config.seed,
        **cost,
        "peak_memory_mb": manifest.peak_memory_mb(),
        "resumed_at_steps": loop.resumed_at,
        "processes": run.processes.world,
        "environment": manifest.environment(str(run.processes.device)),
        "notes": [*run.setup.notes, *([retrained.note] if retrained else [])],
    }
    return facts if retrained is None else facts | {"retraining": retrained.facts}


def _write(run: _Run, metrics: dict[str, Any], facts: dict[str, Any], history: list[dict[str, Any]]) -> dict[str, Any]:
    """Records, metrics and report where they were asked for, then the manifest, which is returned."""
    directory, config = run.directory, run.config
    if config.evaluation:
        save_records(run.records, directory.records)
        write_json(directory.metrics, metrics)
        draw_report(directory, run.records, metrics, facts, history, run.sets if config.show_examples else None)
    return manifest.write(directory, facts)


def _measured(run: _Run, after: After, cost: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Metrics of the saved model and of those to compare with, and the latter's fingerprints by role."""
    run.listener.note("measuring the model after, as saved")
    _record(run, "unlearned", after.model, after.fingerprint)
    config = run.config
    if run.wanted:
        run.retrained = retrain(run.wanted, run.processes, run.listener, run.transform)
        config = replace(config, retrained=run.retrained.sources)
    compared = measure_others(
        run.records,
        config,
        reported(run.sets, run.config.seed),
        processes=run.processes,
        batch_size=run.setup.task.part_size,
        listener=run.listener,
    )
    metrics = summarise(
        run.records,
        halves=run.sets.half_by_id(),
        seed=run.config.seed,
        cost=cost,
        metrics=with_further(config.metrics),
    )
    return metrics, compared


def _record(run: _Run, role: str, model: torch.nn.Module, fingerprint: str) -> None:
    found = measure(
        model,
        reported(run.sets, run.config.seed),
        processes=run.processes,
        batch_size=run.setup.task.part_size,
        fingerprint=fingerprint,
    )
    for name, record in found.items():
        run.records.add(role, name, record)


def _handed_back(run: _Run) -> Any:
    """The user's model, unwrapped; an adapter put into a model in memory has become part of it."""
    loaded = run.setup.loaded
    if loaded.in_memory and loaded.adapter and not loaded.came_as_adapter:
        return merge(loaded).model
    return run.processes.unwrap(loaded.model)
