"""The charts of the report: inline SVG, at most 20 kB each, no script, colours left to the page."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ofmu.report import axes
from ofmu.report.frame import WIDTH, Frame, Key, Mark, dots, mark, path, tone
from ofmu.report.svg import coordinate, drawing, element, titled
from ofmu.report.thinning import thin, thin_path
from ofmu.report.words import brief, finite, number

_POINTS = 400  # of all the lines of a chart together
_TOOLTIPS = 64
_BINS = 36
_BAND = 90.0  # height of a band of histograms


@dataclass(frozen=True)
class Line:
    """A curve: points (x, y) in the order of x; a y of None is a gap.

    Args:
        label: for the legend.
        points: (x, y) pairs.
        tone: colour class.
        dashed: drawn dashed.
        dotted: a mark at every point besides the line.
    """

    label: str
    points: Sequence[tuple[float, float | None]]
    tone: str
    dashed: bool = False
    dotted: bool = False


def lines(
    curves: Sequence[Line],
    *,
    label: str,
    x_label: str,
    y_label: str,
    log: bool | None = None,
    zero: bool = False,
) -> Markup:
    """Curves over a common horizontal axis.

    Args:
        curves: at most eight; long ones are thinned to means of neighbouring points.
        label: what the chart shows, for screen readers; first and last values are added.
        x_label: what the horizontal axis shows.
        y_label: what the vertical axis shows.
        log: logarithmic vertical axis, None to let the values decide.
        zero: a line at 0, and 0 on the vertical axis.
    """
    share = max(1, _POINTS // max(1, len(curves)))
    thinned = [(curve, thin(curve.points, share)) for curve in curves]
    xs = [x for _, points in thinned for x, _ in points]
    ys = [y for _, points in thinned for _, y in points if y is not None] + ([0.0] if zero else [])
    x = axes.fit(xs, log=False)
    if xs and max(xs) > min(xs):  # the curve fills the width: the axis ends where the run ended
        x = axes.Axis(min(xs), max(xs), False, tuple(t for t in x.ticks if min(xs) <= t[0] <= max(xs)))
    keys = [Key(curve.label, curve.tone, "dashed" if curve.dashed else "line") for curve, _ in thinned]
    frame = Frame(x, axes.fit(ys, log=log), x_label=x_label, y_label=y_label, keys=keys, height=150)
    if zero:
        frame.add(element("line", x1=frame.left, x2=frame.right, y1=frame.down(0), y2=frame.down(0), class_="zero"))
    for curve, points in thinned:
        places = [None if y is None else (frame.across(x), frame.down(y)) for x, y in points]
        frame.add(path(places, curve.tone, dashed=curve.dashed))
        if curve.dotted and len(points) <= 40:
            frame.add(*(mark("circle", *place, curve.tone, curve.label, 2.2) for place in places if place))
        frame.add(dots(_spots(frame, curve.label, points, _TOOLTIPS // len(curves))))
    ends = "; ".join(_ends(curve.label, points) for curve, points in thinned)
    return drawing(WIDTH, frame.height, brief(f"{label}. {ends}", 600), frame.parts)


def _spots(
    frame: Frame, label: str, points: Sequence[tuple[float, float | None]], most: int
) -> list[tuple[float, float, str]]:
    stride = math.ceil(len(points) / max(1, most)) or 1
    return [
        (frame.across(x), frame.down(y), f"{brief(label, 24)}: {number(y)} at {number(x)}")
        for x, y in points[::stride]
        if y is not None
    ]


def _ends(label: str, points: Sequence[tuple[float, float | None]]) -> str:
    known = [y for _, y in points if y is not None]
    if not known:
        return f"{brief(label, 60)}: {number(None)}"
    return f"{brief(label, 60)}: from {number(known[0])} to {number(known[-1])}"


@dataclass(frozen=True)
class Course:
    """A path in the forget–retain plane, from start to end."""

    label: str
    points: Sequence[tuple[float, float]]
    tone: str
    dashed: bool = False


@dataclass(frozen=True)
class Place:
    """A marked point of the plane."""

    label: str
    x: float
    y: float
    tone: str
    mark: Mark


def plane(courses: Sequence[Course], places: Sequence[Place], *, label: str, x_label: str, y_label: str) -> Markup:
    """A scatter plot with paths: where runs started, which way they took, and where they should arrive.

    Args:
        courses: paths; long ones are thinned, their start and end kept.
        places: marked points (before, unlearned, retrained …), drawn above the paths.
        label: what the chart shows, for screen readers; the marked points are added.
        x_label: the forget side.
        y_label: the retain side.
    """
    thinned = [(each, thin_path(each.points, _POINTS // max(1, len(courses)))) for each in courses]
    xs = [x for _, points in thinned for x, _ in points] + [place.x for place in places]
    ys = [y for _, points in thinned for _, y in points] + [place.y for place in places]
    keys = [Key(place.label, place.tone, place.mark) for place in places]
    keys += [Key(each.label, each.tone, "dashed" if each.dashed else "line") for each, _ in thinned]
    frame = Frame(axes.fit(xs), axes.fit(ys), x_label=x_label, y_label=y_label, keys=keys, height=230)
    for course, points in thinned:
        on_paper = [(frame.across(x), frame.down(y)) for x, y in points]
        frame.add(path(on_paper, course.tone, dashed=course.dashed))
        if on_paper:
            frame.add(mark("circle", *on_paper[-1], course.tone, f"{brief(course.label, 60)}: end", 3))
    for place in places:
        words = f"{brief(place.label, 36)}: {number(place.x)}, {number(place.y)}"
        frame.add(mark(place.mark, frame.across(place.x), frame.down(place.y), place.tone, words, 6))
    said = "; ".join(f"{brief(p.label, 36)} at {number(p.x)}, {number(p.y)}" for p in places[:10])
    return drawing(WIDTH, frame.height, brief(f"{label}. {said}", 600), frame.parts)


@dataclass(frozen=True)
class Interval:
    """A row of an interval chart: a value and, where known, its interval."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    tone: str
    mark: Mark = "circle"


def intervals(rows: Sequence[Interval], *, label: str, x_label: str, target: float | None = None) -> Markup:
    """Values with their intervals, one row each, on one axis; what is not measured is said in words.

    Args:
        rows: at most 24 are drawn.
        label: what the chart shows, for screen readers; the values are added.
        x_label: what the axis shows.
        target: the value to reach, drawn as a line.
    """
    rows = rows[:24]
    known = _finite([end for row in rows for end in (row.value, row.low, row.high)])
    shown = [*known, *([target] if target is not None else [])]
    labels = max((min(len(row.label), 26) for row in rows), default=0)
    left, height = min(150.0, 12 + labels * 6.2), 24.0 * len(rows)
    log = axes.wants_log(shown, 100)
    frame = Frame(axes.fit(shown, log=log, most=5), None, x_label=x_label, height=height, left=left, right=66)
    if target is not None:
        x = frame.across(target)
        words = f"target: {number(target)}"
        frame.add(titled("line", words, x1=x, x2=x, y1=frame.top, y2=frame.bottom, class_="target"))
    for index, row in enumerate(rows):
        frame.add(*_interval(frame, row, frame.top + 24.0 * index + 12))
    said = "; ".join(f"{brief(row.label, 60)} {number(row.value)}" for row in rows[:12])
    return drawing(WIDTH, frame.height, brief(f"{label}. {said}", 600), frame.parts)


def _interval(frame: Frame, row: Interval, y: float) -> list[Markup]:
    parts = [element("text", brief(row.label, 24), x=2, y=y + 4, class_="key")]
    if row.value is None:
        return [*parts, element("text", number(None), x=frame.left + 8, y=y + 4, class_="tick")]
    words = f"{brief(row.label, 24)}: {number(row.value)}"
    if row.low is not None and row.high is not None:
        words += f" ({number(row.low)} to {number(row.high)})"
        ends = frame.across(row.low), frame.across(row.high)
        parts.append(element("line", x1=ends[0], x2=ends[1], y1=y, y2=y, class_=f"{tone(row.tone)} stroke"))
        for x in ends:
            parts.append(element("line", x1=x, x2=x, y1=y - 4, y2=y + 4, class_=f"{tone(row.tone)} stroke"))
    parts.append(mark(row.mark, frame.across(row.value), y, row.tone, words, 4.5))
    parts.append(element("text", number(row.value), x=WIDTH - 2, y=y + 4, class_="key", text_anchor="end"))
    return parts


@dataclass(frozen=True)
class Sample:
    """Per-example values of one set under one model."""

    label: str
    values: Sequence[float]
    tone: str
    filled: bool = False


def distributions(
    bands: Sequence[tuple[str, Sequence[Sample]]],
    *,
    label: str,
    x_label: str,
    log: bool | None = None,
    line: tuple[float, str] | None = None,
) -> Markup:
    """Histograms in bands above one common axis; every band holds the samples to be compared.

    The height of a step is the share of a sample's examples in that bin; each band has its own height scale.
    On a logarithmic axis what lies more than five decades below the largest value falls into the first bin.

    Args:
        bands: (name, samples), drawn from top to bottom.
        label: what the chart shows, for screen readers; the medians are added.
        x_label: what the common axis shows.
        log: logarithmic axis, None to let the values decide.
        line: a value that parts the axis, and what it says; drawn where it lies on the axis.
    """
    axis = _common_axis(_finite([v for _, samples in bands for each in samples for v in each.values]), log)
    seen: dict[str, Key] = {}
    for _, samples in bands:
        for sample in samples:
            seen.setdefault(sample.label, Key(sample.label, sample.tone, "area" if sample.filled else "line"))
    frame = Frame(axis, None, x_label=x_label, keys=list(seen.values()), height=_BAND * len(bands), left=8)
    if line is not None and axis.low < line[0] < axis.high:
        x = frame.across(line[0])
        frame.add(titled("line", line[1], x1=x, x2=x, y1=frame.top, y2=frame.bottom, class_="target"))
    said = []
    for index, (name, samples) in enumerate(bands):
        base = frame.top + _BAND * (index + 1)
        frame.add(element("text", brief(name, 40), x=frame.left, y=base - 74, class_="band"))
        frame.add(element("line", x1=frame.left, x2=frame.right, y1=base, y2=base, class_="axis"))
        tallest = max((max(_shares(sample.values, axis), default=0.0) for sample in samples), default=0.0)
        for sample in samples:
            frame.add(*_steps(frame, sample, base, 62 / (tallest or 1)))
            said.append(f"{brief(name, 40)}, {brief(sample.label, 40)}: {_median(sample)}")
    return drawing(WIDTH, frame.height, brief(f"{label}. {'; '.join(said)}", 600), frame.parts)


def _finite(values: Sequence[float | None]) -> list[float]:
    return [value for value in map(finite, values) if value is not None]


def _common_axis(values: Sequence[float], log: bool | None) -> axes.Axis:
    positive = [value for value in values if value > 0]
    middle = sorted(positive)[len(positive) // 50 : len(positive) - len(positive) // 50] if positive else []
    as_log = log if log is not None else min(values, default=0) >= 0 and axes.wants_log(middle, 50)
    if as_log and positive:
        top = max(positive)
        return axes.logarithmic(max(min(positive), top * 1e-5), top)
    return axes.fit(values, log=False)


def _shares(values: Sequence[float], axis: axes.Axis) -> list[float]:
    known = _finite(values)
    counts = [0] * _BINS
    for value in known:
        counts[min(_BINS - 1, int(axis.share(value) * _BINS))] += 1
    return [count / len(known) for count in counts] if known else []


def _median(sample: Sample) -> str:
    known = _finite(sample.values)
    if not known:
        return "no values"
    left_out = len(sample.values) - len(known)
    words = f"median {number(statistics.median(known))} of {len(known):,} examples"
    return words + (f", {left_out:,} not finite and left out" if left_out else "")


def _steps(frame: Frame, sample: Sample, base: float, scale: float) -> list[Markup]:
    shares = _shares(sample.values, frame.x)
    if not shares:
        return []
    width = (frame.right - frame.left) / _BINS
    places = [f"M{coordinate(frame.left)} {coordinate(base)}"]
    for index, share in enumerate(shares):
        places.append(f"V{coordinate(base - share * scale)}H{coordinate(frame.left + (index + 1) * width)}")
    outline = "".join(places) + f"V{coordinate(base)}"
    words = f"{brief(sample.label, 80)}: {_median(sample)}"
    middle = frame.across(statistics.median(_finite(sample.values)))
    style = f"{tone(sample.tone)} {'stroke area' if sample.filled else 'stroke'}"
    median = f"{tone(sample.tone)} stroke dashed"
    return [
        titled("path", words, d=outline, class_=style),
        titled("line", words, x1=middle, x2=middle, y1=base, y2=base - 66, class_=median),
    ]


@dataclass(frozen=True)
class Curve:
    """A receiver operating characteristic: false and true positive rates, both rising from 0 to 1."""

    label: str
    false_positive: Sequence[float]
    true_positive: Sequence[float]
    tone: str
    dashed: bool = False


def roc(curves: Sequence[Curve], *, label: str, x_label: str, y_label: str) -> Markup:
    """What an attacker gains: hits against false alarms, with the diagonal of guessing.

    Args:
        curves: one a model; their labels should state the area.
        label: what the chart shows, for screen readers.
        x_label: the false positive rate, in words.
        y_label: the true positive rate, in words.
    """
    unit = axes.Axis(0, 1, False, tuple((t / 4, f"{t / 4:g}") for t in range(5)))
    keys = [Key(curve.label, curve.tone, "dashed" if curve.dashed else "line") for curve in curves]
    frame = Frame(unit, unit, x_label=x_label, y_label=y_label, keys=keys, height=230)
    corner = [(frame.left, frame.bottom), (frame.right, frame.top)]
    (x1, y1), (x2, y2) = corner
    frame.add(titled("line", "guessing", x1=x1, x2=x2, y1=y1, y2=y2, class_="target"))
    for curve in curves:
        points = list(zip(curve.false_positive, curve.true_positive, strict=True))
        points = thin_path(points, 360 // max(1, len(curves)))
        on_paper = [(frame.across(x), frame.down(y)) for x, y in points]
        frame.add(path(on_paper, curve.tone, dashed=curve.dashed))
        words = [f"{brief(curve.label, 24)}: {y:.0%} hits at {x:.0%} false alarms" for x, y in points]
        spots = [(*place, said) for place, said in zip(on_paper, words, strict=True)]
        frame.add(dots(spots[:: math.ceil(len(spots) * len(curves) / _TOOLTIPS) or 1]))
    said = "; ".join(curve.label for curve in curves)
    return drawing(WIDTH, frame.height, brief(f"{label}. {said}", 600), frame.parts)
