"""Measuring models that somebody else may have unlearned."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ofmu.data.images import Transform
from ofmu.engine.processes import Processes, processes
from ofmu.errors import RunError
from ofmu.evaluation.evaluate import summarise
from ofmu.evaluation.metric import Metric
from ofmu.evaluation.metrics import with_further
from ofmu.evaluation.records import Records
from ofmu.models.loaded import Loaded
from ofmu.runs import evaluate_log, manifest, retraining, stored
from ofmu.runs.answering import check_asked, further
from ofmu.runs.claim import Claim
from ofmu.runs.config import Evaluate
from ofmu.runs.directory import RunDirectory, write_json, write_text
from ofmu.runs.drawing import draw_report
from ofmu.runs.identity import Identity
from ofmu.runs.inputs import Sets, check_others, others, read_model, read_sets
from ofmu.runs.listener import Listener, Silent
from ofmu.runs.measuring import measure_one, measure_others, reported, save_records
from ofmu.runs.reading_answers import read_answers
from ofmu.runs.result import Result


def evaluate(
    config: Evaluate,
    output: str | os.PathLike[str],
    *,
    listener: Listener | None = None,
    transform: Transform | None = None,
) -> Result:
    """Measure an unlearned model beside the others given, and write a folder with metrics, records and report.

    Args:
        config: what to measure.
        output: the folder, new or empty.
        listener: is told how it goes; on the main process only.
        transform: of images, in the place of the model's own processor.

    Returns:
        The finished evaluation; its `model` is None.

    Raises:
        InputError: something given cannot be used; nothing was written.
        RunError: it failed on its way.
    """
    if config.from_log is not None:
        return evaluate_log.evaluate(config, output, listener=listener)
    further = with_further(config.metrics)
    directory = RunDirectory(output)
    directory.check_new(resumable=False)
    with processes(device=config.device, precision=config.precision, parallel="auto") as ranks:
        heard = listener if listener is not None and ranks.main else Silent()
        try:
            with Claim(directory.path, ranks) as claim:
                return _run(config, further, directory, ranks, heard, transform, claim)
        except OSError as error:
            raise RunError(f"{error.filename or directory.path}: {(error.strerror or str(error)).lower()}") from error


def plan(config: Evaluate, *, transform: Transform | None = None) -> dict[str, Any]:
    """Check all input and say what would be measured, and what `--retrained auto` would cost; nothing is written.

    Raises:
        InputError: something given cannot be used.
    """
    if config.from_log is not None:
        return evaluate_log.plan(config)
    with_further(config.metrics)
    with processes(device=config.device, precision=config.precision, parallel="auto"):
        torch.manual_seed(config.seed)
        loaded = read_model(config.model, config)
        with loaded.handed_back():
            cache = None if config.cache is None else Path(config.cache)
            sets, wanted = _read(config, loaded, cache, transform)
    return {
        "model": loaded.name,
        "modality": loaded.modality,
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "examples": {name: len(found.ids) for name, found in sets.encoded.items()},
        "clusters": {name: len(set(found.clusters)) for name, found in sets.encoded.items()},
        "compared": list(others(config)),
        "retraining": retraining.forecast(wanted),
        "notes": list(sets.notes),
    }


def _run(
    config: Evaluate,
    metrics: list[type[Metric]],
    directory: RunDirectory,
    ranks: Processes,
    listener: Listener,
    transform: Transform | None,
    claim: Claim,
) -> Result:
    """The model first; then, one at a time, those to compare it with; metrics, report, and the manifest last."""
    started = time.perf_counter()
    torch.manual_seed(config.seed)
    listener.note("reading model and data")
    loaded = read_model(config.model, config)
    with loaded.handed_back():
        sets, wanted = _read(config, loaded, retraining.cache_folder(config, directory), transform)
        identity = Identity.of(loaded, sets)
        claim.make(resumable=False)
        if ranks.main:
            write_text(directory.config, stored.to_yaml(config, identity.hashes))
        for note in sets.notes:
            listener.note(note)
        listener.note("measuring the model")
        records, chosen = Records(removed_classes=sets.removed_labels), reported(sets, config.seed)
        passes: Any = {"processes": ranks, "batch_size": config.batch_size, "more": further(config, sets, chosen)}
        measure_one(records, "unlearned", loaded, chosen, **passes)
    del loaded
    made = retraining.retrain(wanted, ranks, listener, transform) if wanted else None
    if made is not None:
        config = replace(config, retrained=made.sources)
    compared = measure_others(records, config, chosen, listener=listener, **passes)
    more = passes["more"]
    if more is not None and more.heard is not None:
        read_answers(records, config, more, processes=ranks, listener=listener)
    trained_s = 0.0 if made is None else made.facts["seconds"]
    cost = {"gradients": 0.0, "seconds": round(time.perf_counter() - started - trained_s, 3)}
    facts = _facts(config, sets, identity, compared, cost, ranks)
    if made is not None:
        facts |= {"retraining": made.facts, "notes": [*sets.notes, made.note]}
    found = summarise(records, halves=sets.half_by_id(), seed=config.seed, cost=cost, metrics=metrics)
    written = _write(directory, config, sets, records, found, facts) if ranks.main else facts
    return Result(directory.path, None, found, [], written, directory.report, sets.notes)


def _read(
    config: Evaluate, loaded: Loaded, cache: Path | None, transform: Transform | None
) -> tuple[Sets, tuple[retraining.Retraining, ...]]:
    """The examples, and what `--retrained auto` asks for; whatever can be refused is refused here."""
    sets = read_sets(config, loaded, transform=transform)
    check_asked(config, sets)
    check_others(config, loaded, sets)
    return sets, retraining.planned(config, loaded, sets, cache=cache, transform=transform)


def _write(
    directory: RunDirectory,
    config: Evaluate,
    sets: Sets,
    records: Records,
    found: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Records, metrics and report, then the manifest, which is returned."""
    save_records(records, directory.records)
    write_json(directory.metrics, found)
    draw_report(directory, records, found, facts, [], sets if config.show_examples else None)
    return manifest.write(directory, facts)


def _facts(
    config: Evaluate,
    sets: Sets,
    identity: Identity,
    compared: dict[str, str],
    cost: dict[str, float],
    ranks: Processes,
) -> dict[str, object]:
    return {
        "command": "evaluate",
        "ended": "all models were measured",
        "inputs": identity.hashes,
        "compared": compared,
        "seed": config.seed,
        **cost,
        "peak_memory_mb": manifest.peak_memory_mb(),
        "processes": ranks.world,
        "environment": manifest.environment(str(ranks.device)),
        "notes": list(sets.notes),
    }
