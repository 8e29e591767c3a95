"""Reference scores: the forget examples' losses before unlearning, kept under the run's own folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ofmu.engine.loss import Draw
from ofmu.engine.task import Task
from ofmu.losses.rows import Rows
from ofmu.runs.directory import read_json, write_json


def reference_sums(task: Task, cache: Path | None, model: str) -> dict[str, float]:
    """S_i⁰ of every forget example, by id; from the cache if it knows this model and these data.

    Args:
        task: before its first step.
        cache: folder; None: nothing is kept.
        model: fingerprint of the model before unlearning.

    Returns:
        id → token sum of the loss, in nats.
    """
    forget = task.data["forget"]
    key = hashlib.sha256(f"{model} {forget.fingerprint}".encode()).hexdigest()[:32]
    path = None if cache is None else cache / f"reference-{key}.json"
    if path is not None and path.is_file():
        return read_json(path)
    everything = Draw(forget, tuple(range(len(forget.ids))))
    sums = dict(zip(forget.ids, task.facts(everything, Rows.nll_sums).tolist()))
    if path is not None and task.processes.main:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, sums)  # whole or not there: a run that is killed here goes on from it
    return sums
