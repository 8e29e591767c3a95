"""Relearning as a curve: how fast the examples that were not taught come back, in every model."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ofmu.report import axes, evidence, names
from ofmu.report.figure import Figure
from ofmu.report.frame import WIDTH, Frame, Key, mark, path
from ofmu.report.headline import MAIN_ROLES
from ofmu.report.svg import coordinate, drawing, titled
from ofmu.report.words import brief, finite, number

_MOST = 6  # charts
TAUGHT = {
    "cluster": "up to 20 forgotten examples that belong together",
    "5%": "5 % of the forgotten examples",
    "10%": "10 % of the forgotten examples",
    "all": "all forgotten examples",
    "retain": "retained examples only",
}
"""What was taught, in words."""
Course = Sequence[float | None]
Point = tuple[float, float, float]


def figures(found: Mapping[str, Any]) -> list[Figure]:
    """One chart for each setting (what was taught, at which rate) that has untaught examples; means over seeds.

    Args:
        found: what attacks.json holds of the attack ``relearning``.
    """
    curves = [curve for curve in found.get("curves") or () if isinstance(curve, Mapping) and curve.get("loss")]
    settings = list(dict.fromkeys((str(curve.get("taught")), finite(curve.get("rate"))) for curve in curves))
    parts = (found.get("headline") or {}).get("parts") or ()
    made = []
    for taught, rate in settings[:_MOST]:
        own = [c for c in curves if (str(c.get("taught")), finite(c.get("rate"))) == (taught, rate)]
        gap = next((p.get("value") for p in parts if (p.get("taught"), finite(p.get("rate"))) == (taught, rate)), None)
        figure = _figure(own, taught, finite(gap), several=len({r for t, r in settings if t == taught}) > 1, rate=rate)
        made += [figure] if figure is not None else []
    return made


def _figure(
    curves: Sequence[Mapping[str, Any]], taught: str, gap: float | None, *, several: bool, rate: float | None
) -> Figure | None:
    steps = [float(step) for step in curves[0].get("steps") or ()]
    courses = {role: course for role in MAIN_ROLES if (course := _mean(curves, role, len(steps))) is not None}
    if len(steps) < 2 or "unlearned" not in courses:
        return None
    what = TAUGHT.get(taught, taught)
    heading = f"Taught {what}: do the others come back?"
    words = f"Mean loss of the forgotten examples that were not taught. Taught: {what}"
    words += f", at {number(rate)} of the model's scale a step. " if several else ". "
    if "retrained" in courses:
        words += "Shaded: what the unlearned model is ahead of the retrained one, which never knew them. "
        words += f"Relearning gap: {number(gap)}." if gap is not None else "Relearning gap: not measured."
    else:
        words += "Without a retrained model, faster than learning anew cannot be told from fast."
    seeds = len({curve.get("seed") for curve in curves})
    words += " Single seed." if seeds == 1 else f" Means over {seeds} seeds."
    return Figure(heading, _drawn(steps, courses, heading), words)


def _mean(curves: Sequence[Mapping[str, Any]], role: str, length: int) -> Course | None:
    """The mean over seeds (and over retrained models) at each step; None without a complete curve."""
    own = [c["loss"] for c in curves if str(c.get("role")).partition("-")[0] == role and len(c["loss"]) == length]
    if not own:
        return None
    stacked = [[finite(value) for value in course] for course in own]
    at_step = [[course[k] for course in stacked] for k in range(length)]
    known = [[value for value in values if value is not None] for values in at_step]
    means = [statistics.fmean(values) if len(values) == len(stacked) else None for values in known]
    return means if any(value is not None for value in means) else None


def _drawn(steps: Sequence[float], courses: Mapping[str, Course], heading: str) -> Markup:
    places = [math.log2(1 + step) for step in steps]
    x = axes.Axis(places[0], places[-1], False, tuple((p, f"{s:g}") for p, s in zip(places, steps)))
    known = [value for course in courses.values() for value in course if value is not None]
    keys = [Key(evidence.short(role), role, "dashed" if role == "original" else "line") for role in courses]
    frame = Frame(
        x,
        axes.fit([*known, 0.0], log=False),
        x_label="steps of teaching (doubling)",
        y_label="loss of the examples not taught, nats",
        keys=keys,
        height=190,
    )
    if "retrained" in courses:
        frame.add(*_between(frame, places, courses["unlearned"], courses["retrained"]))
    for role, course in courses.items():
        points = [None if y is None else (frame.across(p), frame.down(y)) for p, y in zip(places, course)]
        frame.add(path(points, role, dashed=role == "original"))
        for step, y, point in zip(steps, course, points):
            if point is not None:
                title = f"{names.role(role)}: {number(y)} after {step:g} steps"
                frame.add(mark(evidence.MARKS[role], *point, role, title, 2.6))
    said = "; ".join(f"{names.role(role)} from {number(c[0])} to {number(c[-1])}" for role, c in courses.items())
    return drawing(WIDTH, frame.height, brief(f"{heading} {said}", 600), frame.parts)


def _between(frame: Frame, places: Sequence[float], ours: Course, other: Course) -> list[Markup]:
    """The area where the unlearned model's loss lies below the retrained one's: a shape for each stretch."""
    points = list(zip(places, ours, other))
    stretches: list[list[Point]] = []
    for (x1, u1, r1), (x2, u2, r2) in itertools.pairwise(points):
        if u1 is None or r1 is None or u2 is None or r2 is None:
            continue
        strip = _ahead((x1, u1, r1), (x2, u2, r2))
        if strip is None:
            continue
        if stretches and stretches[-1][-1] == strip[0]:
            stretches[-1].append(strip[1])
        else:
            stretches.append(list(strip))
    return [_shape(frame, stretch) for stretch in stretches]


def _shape(frame: Frame, stretch: Sequence[Point]) -> Markup:
    corners = [(x, r) for x, _, r in stretch] + [(x, u) for x, u, _ in reversed(stretch)]
    drawn = "L".join(f"{coordinate(frame.across(x))} {coordinate(frame.down(y))}" for x, y in corners)
    return titled("path", "relearning gap", d=f"M{drawn}Z", class_="c-forget area")


def _ahead(a: Point, b: Point) -> tuple[Point, Point] | None:
    """The part of a strip (x, u, r) to (x, u, r) where u < r."""
    (x1, u1, r1), (x2, u2, r2) = a, b
    d1, d2 = r1 - u1, r2 - u2
    if d1 <= 0 and d2 <= 0:
        return None
    if d1 >= 0 and d2 >= 0:
        return a, b
    share = d1 / (d1 - d2)
    y = u1 + share * (u2 - u1)
    cross = (x1 + share * (x2 - x1), y, y)
    return (a, cross) if d1 > 0 else (cross, b)
