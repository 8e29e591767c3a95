"""The report of a run, from what its folder holds."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ofmu.data.examples import ImageExamples
from ofmu.errors import InputError
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.report.page import write
from ofmu.report.story import ShownExample
from ofmu.report.words import number
from ofmu.runs.brought_back import attacks_on
from ofmu.runs.directory import RunDirectory, read_json
from ofmu.runs.evidence import log_truth_ratios, membership
from ofmu.runs.history import History
from ofmu.runs.inputs import Sets
from ofmu.runs.measuring import distributions
from ofmu.runs.pictures import png

_TITLES = {"unlearn": "Unlearning run", "evaluate": "Evaluation"}

SHOWN = 12
"""Examples of which content is shown at most, in each set."""


def draw_report(
    directory: RunDirectory,
    records: Records,
    metrics: dict[str, Any],
    manifest: dict[str, Any],
    history: list[dict[str, Any]],
    shown: Sets | None,
    *,
    to: Path | None = None,
    brought_back: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write the HTML report.

    Args:
        directory: the run.
        records: of all roles.
        metrics: metrics.json.
        manifest: what is known of the manifest.
        history: lines of the history.
        shown: the examples, if their content may be shown.
        to: another file than the run's own.
        brought_back: attacks.json of attacks on the run.
        notes: what else a reader must know, beside the notes of the run itself.
    """
    path = to or directory.report
    losses, ids = distributions(records)
    config = yaml.safe_load(directory.config.read_text(encoding="utf-8"))
    write(
        path,
        title=f"{_TITLES.get(config.get('command'), 'Run')} {directory.path.absolute().name}",
        config=config,
        manifest=manifest,
        metrics=metrics,
        history=history,
        distributions=losses,
        shown=None if shown is None else _shown(shown, records),
        ids=ids,
        log_ratios=log_truth_ratios(records),
        membership=membership(records),
        brought_back=brought_back,
        notes=[*notes, *(_sentence(str(note)) for note in manifest.get("notes") or ())],
    )
    return path


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


def draw(run: str | os.PathLike[str], to: Path | None = None, attacks: str | os.PathLike[str] | None = None) -> Path:
    """Draw the report of a finished run again, into a new file; the run itself is not touched.

    Args:
        run: the folder of a finished run.
        to: the new file; `NAME-report.html` in the present folder if left out.
        attacks: folder of attacks on the run, shown too; `RUN-attacks` beside it if left out and there.

    Raises:
        InputError: there is no finished run, it has no evaluation, the file exists, or there are no attacks on it
            where they were said to be.
    """
    directory = RunDirectory(run)
    if not directory.finished or not directory.metrics.is_file():
        raise InputError(f"{directory.path} holds no finished run with an evaluation to report on")
    path = to or Path(f"{directory.path.absolute().name}-report.html")
    if path.exists():
        raise InputError(f"{path} exists; give another file with --output")
    brought_back, notes = attacks_on(directory, attacks)
    history = History(directory.history).read()
    return draw_report(
        directory,
        Records.load(directory.records),
        read_json(directory.metrics),
        read_json(directory.manifest),
        history,
        None,
        to=path,
        brought_back=brought_back,
        notes=notes,
    )


def _shown(sets: Sets, records: Records) -> list[ShownExample]:
    """The forget examples best remembered and the retain examples worst damaged, with their content."""
    found = []
    for name in ("forget", "retain"):
        after, before, retrained = (records.get((role, name)) for role in ("unlearned", "original", "retrained"))
        if after is None:
            continue
        loss = after.means("nll")
        rank = loss if name == "forget" or before is None else before.means("nll") - loss
        for k in np.argsort(np.nan_to_num(rank, nan=np.inf), kind="stable")[:SHOWN]:
            example = after.ids[k]
            said = [None if record is None else _said(record, example) for record in (before, after, retrained)]
            truth = _truth(sets, name, example)
            content = _content(sets, name, example)
            found.append(ShownExample(example, content, said[0], said[1], said[2], set=name, truth=truth))
    return found


def _said(record: Record, example: str) -> str | None:
    """What a model makes of an example: its probability, of images also the class that it gives."""
    if example not in record.ids:
        return None
    k = record.ids.index(example)
    loss = float(record.means("nll")[k])
    said = f"probability {number(math.exp(-loss))}, loss {number(loss)}"
    if record.modality == "image":
        return f"class {int(record.columns['predicted'][k])}; {said} of the label"
    return f"{said} of the answer"


def _truth(sets: Sets, name: str, example: str) -> str | None:
    """The label of an image; a text holds its answer."""
    examples = sets.examples[name]
    if not isinstance(examples, ImageExamples):
        return None
    return f"class {int(examples.labels[examples.ids.index(example)])}"


def _content(sets: Sets, name: str, example_id: str) -> str | bytes:
    examples = sets.examples[name]
    index = examples.ids.index(example_id)
    if isinstance(examples, ImageExamples):
        return png(examples.pixels[index])
    example = examples.examples[index]
    return f"{example.prompt_text}\n{example.completion}".strip()
