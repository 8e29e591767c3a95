"""Scoring what other tools have logged of models: no model is loaded, no data are read."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ofmu.errors import InputError, RunError
from ofmu.evaluation.evaluate import summarise
from ofmu.evaluation.logs import Log, read_log
from ofmu.evaluation.metrics import with_further
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.runs import manifest, stored
from ofmu.runs.config import Evaluate
from ofmu.runs.directory import RunDirectory, write_json, write_text
from ofmu.runs.drawing import draw_report
from ofmu.runs.listener import Listener, Silent
from ofmu.runs.measuring import save_records
from ofmu.runs.result import Result


def evaluate(config: Evaluate, output: str | os.PathLike[str], *, listener: Listener | None = None) -> Result:
    """Score the log of an unlearned model beside those of others, and write a folder as for any evaluation.

    Nothing steered these models here: every set is measured whole.

    Args:
        config: `from_log`, and `original_log`, `retrained_log` where there are any.
        output: the folder, new or empty.
        listener: is told how it goes.

    Raises:
        InputError: a log cannot be used; nothing was written.
        RunError: it failed on its way.
    """
    started = time.perf_counter()
    directory = RunDirectory(output)
    directory.check_new(resumable=False)
    metrics = with_further(config.metrics)
    logs = read_logs(config)
    notes = _notes(logs)
    for note in notes:
        (listener or Silent()).note(note)
    records = Records({(role, name): record for role, log in logs.items() for name, record in log.records.items()})
    found = summarise(records, seed=config.seed, metrics=metrics)
    seconds = round(time.perf_counter() - started, 3)
    found["cost"] |= {"gradients": 0.0, "seconds": seconds}
    hashes = {role: next(iter(log.records.values())).model for role, log in logs.items()}
    facts = {
        "command": "evaluate",
        "ended": "all logs were scored",
        "inputs": {"log": hashes.pop("unlearned")},
        "compared": hashes,
        "seed": config.seed,
        "gradients": 0.0,
        "seconds": seconds,
        "peak_memory_mb": manifest.peak_memory_mb(),
        "environment": manifest.environment("cpu"),
        "notes": list(notes),
    }
    try:
        directory.create()
        write_text(directory.config, stored.to_yaml(config))
        save_records(records, directory.records)
        write_json(directory.metrics, found)
        draw_report(directory, records, found, facts, [], None)
        written = manifest.write(directory, facts)
    except OSError as error:
        raise RunError(f"{error.filename or directory.path}: {(error.strerror or str(error)).lower()}") from error
    return Result(directory.path, None, found, [], written, directory.report, notes)


def plan(config: Evaluate) -> dict[str, Any]:
    """Read the logs and say what would be scored; nothing is written.

    Raises:
        InputError: a log cannot be used.
    """
    with_further(config.metrics)
    logs = read_logs(config)
    own = logs["unlearned"]
    sets = {name: record for name, record in own.records.items() if "-" not in name}
    return {
        "model": f"{own.layout} log {own.path}",
        "modality": "text",
        "parameters": None,
        "examples": {name: len(record) for name, record in sets.items()},
        "clusters": {name: len(set(record.clusters)) for name, record in sets.items()},
        "compared": [role for role in logs if role != "unlearned"],
        "notes": list(_notes(logs)),
    }


def read_logs(config: Evaluate) -> dict[str, Log]:
    """Role → log, the unlearned model's first.

    Raises:
        InputError: a log cannot be read, or is about other examples than the unlearned model's.
    """
    places = {"unlearned": config.from_log}
    if config.original_log is not None:
        places["original"] = config.original_log
    for number, place in enumerate(config.retrained_log, start=1):
        places["retrained" if number == 1 else f"retrained-{number}"] = place
    logs = {role: read_log(Path(place)) for role, place in places.items()}
    for role, log in logs.items():
        _check_same(logs["unlearned"], log, role)
    return logs


def _check_same(own: Log, other: Log, role: str) -> None:
    """Examples have the same number in every log, so logs of different splits would be held against each other."""
    for name in ("forget", "holdout"):
        ours, theirs = own.records.get(name), other.records.get(name)
        if ours is not None and theirs is not None and not _about_the_same(ours, theirs):
            raise InputError(
                f"{other.path} ({role}) has {len(theirs)} {name} examples, {own.path} has {len(ours)}: "
                "logs must be about the same split"
            )


def _about_the_same(first: Record, second: Record) -> bool:
    return set(first.ids) == set(second.ids)


def _notes(logs: dict[str, Log]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for log in logs.values() for note in log.notes))
