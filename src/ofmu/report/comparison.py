"""The demo's comparison of methods, arranged for the page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ofmu.report import evidence, examples, names
from ofmu.report.charts import Course, Interval, Place, intervals, plane
from ofmu.report.examples import Shown
from ofmu.report.figure import Figure
from ofmu.report.frame import Mark
from ofmu.report.story import Estimate, MethodRow, Story, StoryColumn
from ofmu.report.words import NOT_MEASURED, count, finite, number, shorten

_RIVALS = ("m1", "m2", "m3", "m4", "m5", "m6")
_REFERENCES = {"before": "original", "retrained": "retrained"}


@dataclass(frozen=True)
class StoryCell:
    """A value of the comparison in words; ``best`` marks the methods nothing beats beyond noise."""

    text: str
    spread: str
    note: str
    best: bool


@dataclass(frozen=True)
class StoryLine:
    """A row of the comparison in words."""

    method: str
    kind: str
    cells: list[StoryCell]
    gradients: str
    seconds: str


@dataclass(frozen=True)
class StoryView:
    """A story with everything turned into words and drawings."""

    name: str
    paragraphs: list[str]
    verdict: str
    standing: str
    seeds: str
    budget: str
    columns: list[tuple[str, str]]
    lines: list[StoryLine]
    column_figures: list[Figure]
    figures: list[Figure]
    shown: list[Shown]
    shown_left_out: str


def view(story: Story) -> StoryView:
    """Everything the template needs of a story."""
    visible, left_out = examples.shown(story.shown)
    seeds = "Single seed: no spread." if story.seeds == 1 else f"Mean ± standard deviation over {story.seeds} seeds."
    return StoryView(
        name=shorten(story.name, 160),
        paragraphs=[shorten(part, 2_000) for part in re.split(r"\n\s*\n", story.question) if part.strip()][:20],
        verdict=shorten(story.verdict, 2_000),
        standing=shorten(story.standing(), 4_000),
        seeds=seeds,
        budget=budget(story),
        columns=[(shorten(column.title, 160), _aim(column)) for column in story.columns],
        lines=lines(story),
        column_figures=[_column_figure(story, column) for column in story.columns],
        figures=_figures(story),
        shown=visible,
        shown_left_out=left_out,
    )


def budget(story: Story) -> str:
    """Whether the methods spent the same, in words: a comparison at unequal cost must not look equal."""
    spent = [row.gradients for row in story.rows if row.kind == "method"]
    known = [each for each in spent if each is not None]
    if not known or len(known) < len(spent):
        return "Gradient evaluations were not counted for every method."
    if max(known) - min(known) <= 0.01 * max(known):
        return f"Every method spent {count(max(known))} gradient evaluations."
    spread = f"{count(min(known))} to {count(max(known))}"
    return f"The methods did not spend the same: {spread} gradient evaluations."


def _aim(column: StoryColumn) -> str:
    return f"aim: {number(column.target)}" if column.target is not None else names.better(column.direction)


def lines(story: Story) -> list[StoryLine]:
    """The rows of the comparison in words, the best of every column marked; also what the terminal prints."""
    best = {column.key: story.best(column) for column in story.columns}
    return [
        StoryLine(
            method=shorten(row.method, 160),
            kind=row.kind,
            cells=[_cell(row, column, row.method in best[column.key]) for column in story.columns],
            gradients="–" if row.gradients is None else count(row.gradients),
            seconds="–" if row.seconds is None else f"{row.seconds:,.1f}",
        )
        for row in story.rows
    ]


def _cell(row: MethodRow, column: StoryColumn, among_best: bool) -> StoryCell:
    estimate = row.values.get(column.key, Estimate(None))
    if finite(estimate.mean) is None:
        return StoryCell(NOT_MEASURED, "", shorten(estimate.reason or "", 300), False)
    spread = f"± {number(estimate.spread)}" if finite(estimate.spread) is not None else ""
    return StoryCell(number(estimate.mean), spread, "", among_best and row.kind == "method")


def _tones(story: Story) -> dict[str, str]:
    rivals = [row.method for row in story.rows if row.kind == "method" and row.method != story.ours]
    tones = {method: _RIVALS[index % len(_RIVALS)] for index, method in enumerate(rivals)}
    return tones | {story.ours: "unlearned"}


def _figures(story: Story) -> list[Figure]:
    figures = [_plane_figure(story)] if story.plane else []
    if story.distributions:
        figures += [evidence.losses(story.distributions), evidence.attack(story.distributions)]
    return figures


def _column_figure(story: Story, column: StoryColumn) -> Figure:
    tones, rows = _tones(story), []
    for row in story.rows:
        estimate = row.values.get(column.key, Estimate(None))
        mean, spread = finite(estimate.mean), finite(estimate.spread)
        low, high = (None, None) if mean is None or spread is None else (mean - spread, mean + spread)
        role = _REFERENCES.get(row.kind)
        mark: Mark = evidence.MARKS[role] if role else "circle" if row.method == story.ours else "square"
        rows.append(Interval(_short(row), mean, low, high, role or tones[row.method], mark))
    target = story.target(column)
    goal = finite(target.mean) if target else None
    svg = intervals(rows, label=column.title, x_label=column.title, target=goal)
    words = _aim(column) + ("; the dashed line is the aim" if goal is not None else "")
    return Figure(shorten(column.title, 160), svg, words[:1].upper() + words[1:] + ".")


def _short(row: MethodRow) -> str:
    return "retrained" if row.kind == "retrained" else row.method


def _plane_figure(story: Story) -> Figure:
    drawn = story.plane
    if drawn is None:
        raise ValueError(f"story '{story.name}' has no plane")
    tones = _tones(story)
    courses = [
        Course(method, points, tones.get(method, "ink"), method != story.ours)
        for method, points in drawn.paths.items()
        if points
    ]
    places = []
    if courses:
        places.append(Place("before", *courses[0].points[0], "original", "hollow"))
    if drawn.target:
        places.append(Place("retrained without the data (target)", *drawn.target, "retrained", "diamond"))
    svg = plane(courses, places, label=story.name, x_label=drawn.forget_label, y_label=drawn.retain_label)
    words = "Every path starts at the model before; dots are where the methods ended."
    return Figure("Which way did each method take?", svg, words)
