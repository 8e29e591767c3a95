"""The table before / unlearned / retrained: metrics.json arranged for a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ofmu.report import names
from ofmu.report.words import NOT_MEASURED, count, counted, finite, listed, number, shorten

MAIN_ROLES = ("original", "unlearned", "retrained", "base")
_MOST_LINES = 200
_SHORT = 14  # lines that a reader takes in at once
_LOSSES = ("forget_loss", "retain_loss", "holdout_loss")
_HALVES = {"report": "reporting half", "whole": "whole set"}


@dataclass(frozen=True)
class Cell:
    """A value of one role.

    Args:
        role: original, unlearned, retrained, base.
        value: the number, None if there is none.
        low: lower end of its interval, if known.
        high: upper end.
        note: other seeds, or why there is no value or no interval.
        applies: False where the metric is no property of this model, as a gap is none of the model before.
    """

    role: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    applies: bool = True

    @property
    def text(self) -> str:
        """The value in four significant digits, or words for none."""
        return number(self.value) if self.applies else "–"

    @property
    def interval(self) -> str:
        """The interval in words of a table, empty if there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"{number(self.low)} to {number(self.high)}"


@dataclass(frozen=True)
class Line:
    """A metric in all its roles.

    Args:
        metric: its name in metrics.json.
        direction: up, down or as_retrained.
        cells: one a role of the table.
        gap: unlearned minus retrained; None if there is nothing to compare with.
        gap_interval: its interval in words, if stated.
        basis: what the numbers rest on: n, clusters, which half, and what holds for every model's number.
        unit: what the number counts, for metrics that this page does not know.
        parts: what a headline is made of, a sentence each.
    """

    metric: str
    direction: str
    cells: tuple[Cell, ...]
    gap: float | None
    gap_interval: str
    basis: str
    unit: str = ""
    parts: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The metric in plain words."""
        return shorten(names.title(self.metric), 160)

    @property
    def short_title(self) -> str:
        """The same below a heading that says the set."""
        return shorten(names.short_title(self.metric), 160)

    @property
    def hint(self) -> str:
        """Unit and direction."""
        about = names.explanation(self.metric) or shorten(self.unit, 40)
        return "; ".join(part for part in (about, names.better(self.direction)) if part)

    @property
    def gap_text(self) -> str:
        """The signed gap, or words for none."""
        if self.metric in names.HEADLINES:
            return "–"  # it is a gap already
        return "none" if self.gap is None else number(self.gap, signed=True)

    def cell(self, role: str) -> Cell | None:
        """The cell of a role, if the table has that role."""
        return next((cell for cell in self.cells if cell.role == role), None)


@dataclass(frozen=True)
class Table:
    """Lines of one mode in their groups; tables never mix modes.

    Args:
        mode: correct, or the public code whose faults the numbers share.
        roles: the roles that have a column.
        groups: (heading, lines), none of them empty: the headlines, what they are made of, and the losses.
        notes: what a reader must know beside the numbers.
        more: (set, lines) of all other scores, for a reader who looks for them.
    """

    mode: str
    roles: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Line, ...]], ...]
    notes: tuple[str, ...] = field(default=())
    more: tuple[tuple[str, tuple[Line, ...]], ...] = field(default=())

    @property
    def title(self) -> str:
        """Heading of a table that is not the main one."""
        return shorten(self.mode.replace("_", " "), 160)

    def lines(self) -> list[Line]:
        """The lines that come first, in order."""
        return [line for _, lines in self.groups for line in lines]

    @property
    def others(self) -> int:
        """How many lines there are besides."""
        return sum(len(lines) for _, lines in self.more)

    @property
    def others_text(self) -> str:
        """What opens the table of the others."""
        return f"All other scores, set by set: {counted(self.others, 'line')}"


def tables(metrics: Mapping[str, Any]) -> list[Table]:
    """The tables of metrics.json: the ``correct`` mode first, each parity mode in a table of its own.

    A headline stands in the first one, whatever modes its parts have; it and they say so.

    Scores of the steering half never appear: what steered a run is not evidence about it. At most 200 lines each.
    """
    scores = [score for score in metrics.get("scores") or [] if score.get("half") != "steer"]
    modes = sorted({_mode(score) for score in scores}, key=lambda mode: (mode != "correct", mode))
    made = [_table(mode, [score for score in scores if _mode(score) == mode]) for mode in modes]
    steered = len(metrics.get("scores") or []) - len(scores)
    if made and steered:
        note = f"{counted(steered, 'score')} of the steering half left out: what steers is not reported."
        made[0] = replace(made[0], notes=(*made[0].notes, note))
    return made


def _mode(score: Mapping[str, Any]) -> str:
    return "correct" if score.get("name") in names.HEADLINES else str(score.get("mode") or "correct")


def _table(mode: str, scores: Sequence[Mapping[str, Any]]) -> Table:
    by_line: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for score in scores:
        key = str(score.get("name")), str(score.get("half") or "")
        by_line.setdefault(key, {}).setdefault(str(score.get("role")), score)
    present = {str(score.get("role")) for score in scores}
    roles = tuple(role for role in MAIN_ROLES if role in present)
    lines = [_line(name, half, by_role, roles) for (name, half), by_role in list(by_line.items())[:_MOST_LINES]]
    first, others = _leading(lines, scores)
    grouped = [(group, tuple(x for x in first if names.group(x.metric) == group)) for group in names.GROUPS]
    grouped.sort(key=lambda part: not any(cell.value is not None for x in part[1] for cell in x.cells))
    shelves = {names.shelf(line.metric): None for line in others}
    more = tuple((shelf, tuple(x for x in others if names.shelf(x.metric) == shelf)) for shelf in shelves)
    return Table(mode, roles, tuple(part for part in grouped if part[1]), _notes(scores), more)


def _leading(lines: list[Line], scores: Sequence[Mapping[str, Any]]) -> tuple[list[Line], list[Line]]:
    """The lines that a reader meets first, and the others; a short table is not taken apart."""
    given = [score.get("parts") for score in scores]
    listed_parts = [part for parts in given if isinstance(parts, Sequence) for part in parts]
    parts = dict.fromkeys(str(part.get("name")) for part in listed_parts if isinstance(part, Mapping))
    wanted = {*names.HEADLINES, *_LOSSES, *parts}
    if len(lines) <= _SHORT or len(parts) == 0:
        return lines, []
    first = [x for x in lines if x.metric in wanted]
    order = [*parts, *_LOSSES]
    first.sort(key=lambda x: order.index(x.metric) if x.metric in order else -1)
    return first, [x for x in lines if x.metric not in wanted]


def _line(name: str, half: str, by_role: Mapping[str, Mapping[str, Any]], roles: Sequence[str]) -> Line:
    unlearned = by_role.get("unlearned", {})
    any_score = unlearned or next(iter(by_role.values()))
    gap_ends = _ends(unlearned.get("gap_interval"))
    cells, common = _common(
        [_cell(role, by_role, applies=name not in names.HEADLINES or role == "unlearned") for role in roles]
    )
    basis = _in_parts(any_score) if name in names.HEADLINES else _basis(any_score, half)
    return Line(
        metric=name,
        direction=str(any_score.get("direction")),
        cells=tuple(cells),
        gap=finite(unlearned.get("gap")),
        gap_interval=f"{number(gap_ends[0])} to {number(gap_ends[1])}" if gap_ends else "",
        basis="; ".join(part for part in (basis, common) if part),
        unit=str(any_score.get("unit") or ""),
        parts=_parts(unlearned.get("parts")),
    )


def _in_parts(score: Mapping[str, Any]) -> str:
    """What a headline says of its parts, if some are of a public definition."""
    modes = [mode for mode in str(score.get("mode") or "").split(" + ") if mode not in ("", "correct")]
    return f"in part {', '.join(modes).replace('_', ' ')}" if modes else ""


def _common(cells: list[Cell]) -> tuple[list[Cell], str]:
    """A note that every cell would repeat is said once, beside the metric's name."""
    notes = {cell.note for cell in cells}
    if len(cells) < 2 or len(notes) != 1 or any(cell.value is None for cell in cells):
        return cells, ""
    return [replace(cell, note="") for cell in cells], notes.pop()


def _parts(parts: object) -> tuple[str, ...]:
    """What a headline rests on: it is never printed without, and a part that is missing says why."""
    found: list[str] = []
    missing: dict[str, list[str]] = {}
    for part in parts[:40] if isinstance(parts, Sequence) and not isinstance(parts, str) else ():
        if not isinstance(part, Mapping):
            continue
        title = names.title(str(part.get("name")))
        if finite(part.get("value")) is None:
            missing.setdefault(str(part.get("reason") or NOT_MEASURED), []).append(title)
            continue
        roles = {"original": "before", "unlearned": "unlearned", "retrained": "retrained"}
        values = [(words, part.get(role)) for role, words in roles.items()]
        known = [f"{number(value)} {role}" for role, value in values if finite(value) is not None]
        said = f"{title}: share {number(part['value'])}" + (f"; {listed(known)}" if known else "")
        mode = str(part.get("mode") or "correct").replace("_", " ")
        said += "" if mode == "correct" else f" ({mode})"
        found.append(said + _said_gap(part.get("gap"), _ends(part.get("gap_interval"))))
    found += [f"{why}: {listed(titles)}" for why, titles in missing.items()]
    return tuple(shorten(said, 600) for said in found)


def _said_gap(gap: object, ends: tuple[float, float] | None) -> str:
    if finite(gap) is None:
        return ""
    return f"; gap {number(gap, signed=True)}" + (f" ({number(ends[0])} to {number(ends[1])})" if ends else "")


def _cell(role: str, by_role: Mapping[str, Mapping[str, Any]], *, applies: bool) -> Cell:
    score = by_role.get(role)
    if score is None:
        return Cell(role, None, note="not measured for this model" if applies else "", applies=applies)
    value, ends = finite(score.get("value")), _ends(score.get("interval"))
    notes = []
    if value is None:
        notes.append(str(score.get("reason") or "no reason was recorded"))
    elif isinstance(score.get("interval"), str):
        notes.append(f"no interval: {score['interval']}")
    elif ends is None and not score.get("reason"):
        notes.append("no interval")
    if value is not None and score.get("reason"):
        notes.append(str(score["reason"]))
    others = [by_role[other] for other in by_role if other.startswith(f"{role}-")]
    if others:
        notes.append("other seeds: " + ", ".join(number(other.get("value")) for other in others[:8]))
    low, high = ends or (None, None)
    return Cell(role, value, low, high, shorten("; ".join(notes), 400))


def _ends(interval: object) -> tuple[float, float] | None:
    if not isinstance(interval, Sequence) or isinstance(interval, str) or len(interval) != 2:
        return None
    low, high = finite(interval[0]), finite(interval[1])
    return None if low is None or high is None else (low, high)


def _basis(score: Mapping[str, Any], half: str) -> str:
    parts = []
    if finite(score.get("n")) is not None:
        parts.append(f"n {count(score['n'])}")
    if finite(score.get("clusters")) is not None:
        parts.append(counted(int(score["clusters"]), "cluster"))
    if finite(score.get("seeds")) is not None:
        parts.append("single seed" if score["seeds"] == 1 else counted(int(score["seeds"]), "seed"))
    parts += [_HALVES.get(half, half)] if half else []
    excluded = score.get("excluded")
    if isinstance(excluded, Mapping | Sequence) and len(excluded) > 0 and not isinstance(excluded, str):
        reasons = sorted({str(each) for each in excluded.values()}) if isinstance(excluded, Mapping) else []
        parts.append(f"{count(len(excluded))} left out" + (f" ({listed(reasons[:3])})" if reasons else ""))
    return shorten(", ".join(parts), 300)


def _notes(scores: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    roles = {str(score.get("role")) for score in scores}
    notes = []
    if "retrained" not in roles:
        notes.append(
            "No model retrained without the data was given, so there is nothing to compare the unlearned "
            "model with: there are no gaps, and no number here means “as retrained”."
        )
    if "original" not in roles:
        notes.append("The model before unlearning was not measured.")
    if not any(
        str(score.get("name")).startswith("mia_") and finite(score.get("value")) is not None for score in scores
    ):
        notes.append(f"Membership attacks: {NOT_MEASURED}.")
    return tuple(notes)
