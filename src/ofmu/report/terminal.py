"""Tables for the terminal: colours only there, plain text in a pipe or a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import IO, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ofmu.report import comparison, headline, names, verdict
from ofmu.report.headline import Cell
from ofmu.report.story import Story
from ofmu.report.words import NOT_MEASURED, clean, count, listed, shorten

_PIPE_WIDTH = 160  # nobody's window: wide enough that no column of a table has to be cut


def console(file: IO[str] | None = None) -> Console:
    """A console on a stream, standard output by default; without a terminal it writes no escape sequence."""
    stream = file if file is not None else sys.stdout
    if stream.isatty():
        return Console(file=stream, highlight=False, markup=False, emoji=False)
    return Console(
        file=stream,
        width=_PIPE_WIDTH,
        force_terminal=False,
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_run(metrics: Mapping[str, Any], *, title: str = "", file: IO[str] | None = None) -> None:
    """Print *before / unlearned / retrained without the data*, then the verdict in words.

    Args:
        metrics: metrics.json of a run.
        title: a line above the table.
        file: stream to print on, standard output by default.
    """
    out = console(file)
    if title:
        _say(out, title, "bold")
    made = headline.tables(metrics)
    for table in made:
        drawn, reasons = _run_table(table, plain=not out.is_terminal)
        out.print(drawn)
        more = f"{count(table.others)} more scores are in metrics.json and in the report." if table.others else ""
        for note in (*reasons, *table.notes, *([more] if more else [])):
            _say(out, note, "dim")
    if not made:
        _say(out, "Nothing was measured, so there is no table.")
    _say_verdict(out, (metrics.get("verdict") or {}).get("words"))


def _say_verdict(out: Console, words: object) -> None:
    """In short paragraphs, as the report has them: how it begins, what is judged, and a line for each figure."""
    if not isinstance(words, str) or not words.strip():
        _say(out, "Verdict: none was recorded.", "bold")
        return
    first, judged, figures = verdict.paragraphs(words)
    _say(out, f"Verdict: {first}", "bold")
    for sentence in judged:
        _say(out, f"\n{sentence}")
    if figures:
        _say(out, "\nEvery figure that it rests on:")
    for figure in figures:
        _say(out, f"- {figure}")


def _run_table(table: headline.Table, *, plain: bool) -> tuple[Table, list[str]]:
    """The table and, for its cells without a number, the reasons."""
    drawn = _empty("" if table.mode == "correct" else table.title, plain=plain)
    drawn.add_column("measured")
    for role in table.roles:
        drawn.add_column(names.role(role), justify="right", style="bold" if role == "unlearned" else None)
    if "retrained" in table.roles:
        drawn.add_column("gap", justify="right")
    parts: list[str] = []
    for line in table.lines():
        cells = [_cell(cell) for cell in line.cells]
        gap = [_text(line.gap_text)] if "retrained" in table.roles else []
        drawn.add_row(_text(line.title), *cells, *gap)
        if any(cell.value is not None for cell in line.cells):
            parts += [f"{line.title}: {part}" for part in line.parts]
    return drawn, [*_reasons(table), *parts]


def _reasons(table: headline.Table) -> list[str]:
    """Why cells have no number: a reason that several lines share is said once."""
    lines: dict[str, dict[str, list[str]]] = {}
    for line in table.lines():
        for cell in line.cells:
            if cell.applies and cell.value is None:
                lines.setdefault(cell.note, {}).setdefault(line.title, []).append(names.role(cell.role))
    said = []
    for note, missing in lines.items():
        one = ", ".join(next(iter(missing.values()))) if len(missing) == 1 else ""
        said.append(f"{listed(list(missing))}{f', {one}' if one else ''}: {note}")
    return [clean(shorten(words, 600)) for words in said]


def _cell(cell: Cell) -> Text:
    if not cell.applies:
        return _text("")
    if cell.value is None:
        return _text(NOT_MEASURED, "dim")
    text = _text(cell.text)
    if cell.interval:
        text.append(f" ({cell.interval})", "dim")
    return text


def print_story(story: Story, *, file: IO[str] | None = None) -> None:
    """Print a story of the demo: its question, the table of methods, its verdict and who was best at what.

    A star marks the best method of every column, rival or not; several where noise does not tell them apart.

    Args:
        story: the comparison.
        file: stream to print on, standard output by default.
    """
    out = console(file)
    _say(out, story.name, "bold")
    _say(out, story.question)
    out.print(_story_table(story, plain=not out.is_terminal))
    _say(out, f"{_star(story)}. {comparison.budget(story)}", "dim")
    _say(out, story.verdict, "bold")
    _say(out, story.standing())


def _story_table(story: Story, *, plain: bool) -> Table:
    drawn = _empty("", plain=plain)
    drawn.add_column("model")
    for column in story.columns:
        drawn.add_column(_text(f"{column.title}\n({names.better(column.direction)})"), justify="right")
    drawn.add_column("gradients", justify="right")
    drawn.add_column("seconds", justify="right")
    for line in comparison.lines(story):
        style = "dim" if line.kind != "method" else None
        cells = [
            _text(" ".join(part for part in (cell.text, cell.spread) if part), "bold" if cell.best else "")
            .append(" *" if cell.best else "  ")
            for cell in line.cells
        ]  # fmt: skip
        drawn.add_row(_text(line.method), *cells, _text(line.gradients), _text(line.seconds), style=style)
    return drawn


def _star(story: Story) -> str:
    spread = "single seed" if story.seeds == 1 else f"mean ± standard deviation over {story.seeds} seeds"
    return f"* best of the methods, or not told apart from the best by noise; {spread}"


def _empty(title: str, *, plain: bool) -> Table:
    return Table(
        title=_text(title) if title else None,
        title_justify="left",
        box=box.ASCII if plain else box.SIMPLE_HEAD,
        header_style="" if plain else "dim",
    )


def _say(out: Console, words: str, style: str = "") -> None:
    """A line of prose: wrapped by words on a terminal, whole in a pipe."""
    out.print(_text(words, style), soft_wrap=not out.is_terminal)


def _text(words: str, style: str = "") -> Text:
    return Text(clean(shorten(words, 4_000)), style=style)
