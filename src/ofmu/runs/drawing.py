"""The report of a run, from what its folder holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from ofmu.data.examples import ImageExamples
from ofmu.errors import InputError
from ofmu.evaluation.records import Records
from ofmu.report.page import write
from ofmu.report.story import ShownExample
from ofmu.runs.directory import RunDirectory, read_json
from ofmu.runs.history import History
from ofmu.runs.inputs import Sets
from ofmu.runs.measuring import distributions
from ofmu.runs.pictures import png

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
    """
    path = to or directory.report
    losses, ids = distributions(records)
    config = yaml.safe_load(directory.config.read_text(encoding="utf-8"))
    write(
        path,
        title=f"Unlearning run {directory.path.absolute().name}",
        config=config,
        manifest=manifest,
        metrics=metrics,
        history=history,
        distributions=losses,
        shown=None if shown is None else _shown(shown, losses, ids),
        ids=ids,
    )
    return path


def draw(run: str | os.PathLike[str], to: Path | None = None) -> Path:
    """Draw the report of a finished run again, into a new file; the run itself is not touched.

    Args:
        run: the folder of a finished run.
        to: the new file; `NAME-report.html` in the present folder if left out.

    Raises:
        InputError: there is no finished run, it has no evaluation, or the file exists.
    """
    directory = RunDirectory(run)
    if not directory.finished or not directory.metrics.is_file():
        raise InputError(f"{directory.path} holds no finished run with an evaluation to report on")
    path = to or Path(f"{directory.path.absolute().name}-report.html")
    if path.exists():
        raise InputError(f"{path} exists; give another file with --output")
    history = History(directory.history).read()
    return draw_report(
        directory,
        Records.load(directory.records),
        read_json(directory.metrics),
        read_json(directory.manifest),
        history,
        None,
        to=path,
    )


def _shown(sets: Sets, losses: dict[str, dict[str, list[float]]], ids: dict[str, list[str]]) -> list[ShownExample]:
    """The forget examples best remembered and the retain examples worst damaged, with their content."""
    found = []
    for name, sign in (("forget", 1.0), ("retain", -1.0)):
        after, before = losses["unlearned"].get(name, []), losses.get("original", {}).get(name, [])
        order = sorted(range(len(after)), key=lambda k: sign * after[k])[:SHOWN]
        for k in order:
            content = _content(sets, name, ids[name][k])
            prior = before[k] if before else None
            found.append(ShownExample(id=ids[name][k], content=content, before=prior, after=after[k], set=name))
    return found


def _content(sets: Sets, name: str, example_id: str) -> str | bytes:
    examples = sets.examples[name]
    index = examples.ids.index(example_id)
    if isinstance(examples, ImageExamples):
        return png(examples.pixels[index])
    example = examples.examples[index]
    return f"{example.prompt_text}\n{example.completion}".strip()
