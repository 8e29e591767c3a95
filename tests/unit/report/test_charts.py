"""Charts: axes that read right, marks where the numbers are, bounded size, valid whatever the labels."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ofmu.report import axes
from ofmu.report.charts import (
    Course,
    Curve,
    Interval,
    Line,
    Place,
    Sample,
    distributions,
    intervals,
    lines,
    plane,
    roc,
)
from ofmu.report.thinning import thin, thin_path

EVIL = "<b>&\"'\x00\u2028" + "é" * 3_000


def labels(axis: axes.Axis) -> list[str]:
    return [text for _, text in axis.ticks]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.06, 0.93, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (-0.37, 0.44, ["-0.4", "-0.2", "0", "0.2", "0.4", "0.6"]),
        (3, 241, ["0", "50", "100", "150", "200", "250"]),
        (0, 6.2e-4, ["0", "0.0002", "0.0004", "0.0006", "0.0008"]),
        (0, 6.2e-6, ["0", "2×10⁻⁶", "4×10⁻⁶", "6×10⁻⁶", "8×10⁻⁶"]),
        (0, 2_600_000, ["0", "5×10⁵", "10⁶", "1.5×10⁶", "2×10⁶", "2.5×10⁶", "3×10⁶"][:0] or None),
        (7.5, 7.5, None),
        (0, 0, ["-0.6", "-0.4", "-0.2", "0", "0.2", "0.4", "0.6"][:0] or None),
    ],
)
def test_linear_ticks(low: float, high: float, expected: list[str] | None) -> None:
    axis = axes.linear(low, high)
    if expected is not None:
        assert labels(axis) == expected
    assert axis.low <= low
    assert axis.high >= high
    assert axis.low < axis.high


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.03, 7, ["0.1", "1", "10"]),
        (1, 2_000_000, ["1", "10²", "10⁴", "10⁶"]),
        (1, 90_000, ["1", "10", "100", "1,000", "10,000", "100,000"]),
        (2, 9, ["2", "5", "10"]),
        (1e-9, 1, ["10⁻⁹", "10⁻⁷", "10⁻⁵", "10⁻³", "10⁻¹"]),
        (5, 5, None),
    ],
)
def test_logarithmic_ticks(low: float, high: float, expected: list[str] | None) -> None:
    axis = axes.logarithmic(low, high)
    if expected is not None:
        assert labels(axis) == expected
    assert axis.low <= low * 1.001
    assert axis.high >= high / 1.001
    assert axis.share(axis.low) == 0
    assert axis.share(axis.high) == 1


@given(
    st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-12),
    st.floats(1e-9, 1e12),
    st.booleans(),
)
@example(9.8e9, 2e8, False)  # steps of 5e7 go on beyond 1e10, where each takes a digit more
def test_every_axis_covers_its_values_with_distinct_ticks(start: float, span: float, log: bool) -> None:
    low, high = (abs(start) + 1e-9, abs(start) + 1e-9 + span) if log else (start, start + span)
    axis = (axes.logarithmic if log else axes.linear)(low, high)
    places = [axis.share(value) for value, _ in axis.ticks]
    assert 2 <= len(places) <= 6
    assert places == sorted(set(places))
    assert all(0 <= place <= 1 for place in places)
    assert 0 <= axis.share(low) <= axis.share(high) <= 1
    if high - low > 1e-3 * max(abs(low), abs(high)):
        assert len(set(labels(axis))) == len(places)


def test_share_and_at_are_inverse() -> None:
    for axis in (axes.linear(-3, 11), axes.logarithmic(1e-4, 50)):
        for share in (0.0, 0.2, 0.77, 1.0):
            assert axis.share(axis.at(share)) == pytest.approx(share, abs=1e-12)


def coordinates(svg: str, style: str) -> list[tuple[float, float]]:
    found = re.search(rf'<path d="([^"]+)" class="{style}"', svg)
    assert found
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", found[1])]


def test_a_line_goes_where_its_numbers_are() -> None:
    svg = lines([Line("a", [(0, 0.0), (5, 1.0), (10, 0.5)], "forget")], label="t", x_label="x", y_label="y", log=False)
    (x0, y0), (x1, y1), (x2, y2) = coordinates(svg, "c-forget stroke")
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(2 * (y2 - y1), abs=0.2)  # y grows downwards
    assert "a: 1.000 at 5.000" in svg
    assert "a: from 0 to 0.5000" in svg


def test_a_gap_breaks_the_line_and_is_no_zero() -> None:
    svg = lines([Line("a", [(0, 2.0), (1, None), (2, 4.0)], "ink")], label="t", x_label="x", y_label="y")
    found = re.search(r'd="([^"]+)" class="c-ink', svg)
    assert found
    assert found[1].count("M") == 2
    assert "L" not in found[1]


def test_bounds_of_a_plane_are_shared_by_paths_and_places() -> None:
    places = [Place("before", 0, 0, "original", "hollow"), Place("end", 4, 2, "unlearned", "circle")]
    svg = plane([Course("path", [(0, 0), (4, 2)], "path")], places, label="t", x_label="x", y_label="y")
    start, end = coordinates(svg, "c-path stroke")
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="6" class="c-(\w+)', svg)
    by_tone = {tone: (float(x), float(y)) for x, y, tone in circles}
    assert by_tone["original"] == start
    assert by_tone["unlearned"] == end


def test_intervals_stand_at_their_values_and_missing_ones_are_words() -> None:
    rows = [Interval("one", 2.0, 1.0, 4.0, "unlearned"), Interval("two", None, None, None, "retrained")]
    svg = intervals(rows, label="t", x_label="x", target=2.0)
    dot = re.search(r'<circle cx="([\d.]+)"', svg)
    aim = re.search(r'<line x1="([\d.]+)" x2="\1" [^>]*class="target"', svg)
    ends = re.search(r'<line x1="([\d.]+)" x2="([\d.]+)" y1="([\d.]+)" y2="\3" class="c-unlearned', svg)
    assert dot
    assert aim
    assert ends
    assert dot[1] == aim[1]
    assert (float(dot[1]) - float(ends[1])) * 2 == pytest.approx(float(ends[2]) - float(dot[1]), abs=0.3)
    assert svg.count("not measured") == 2  # on the drawing and for the screen reader


def test_histogram_heights_are_shares() -> None:
    svg = distributions([("band", [Sample("s", [0.0, 0.0, 0.0, 10.0], "forget")])], label="t", x_label="x", log=False)
    found = re.search(r'd="M[\d.]+ ([\d.]+)((?:V[\d.]+H[\d.]+)+)', svg)
    assert found
    heights = [float(found[1]) - float(y) for y in re.findall(r"V([\d.]+)H", found[2])]
    assert heights[0] == pytest.approx(3 * heights[-1], abs=0.2)
    assert sum(heights[1:-1]) == 0
    assert "median 0 of 4 examples" in svg


def test_values_that_are_not_finite_are_said_not_drawn() -> None:
    svg = distributions([("b", [Sample("s", [1.0, math.nan, math.inf], "forget")])], label="t", x_label="x")
    assert "median 1.000 of 1 examples, 2 not finite and left out" in svg
    assert "nan" not in svg


def test_every_chart_is_small_and_valid_xml() -> None:
    noise = np.random.default_rng(0).lognormal(size=(8, 5_000)) * 1e3
    long_lines = [Line(EVIL, [(float(i), float(y)) for i, y in enumerate(row)], "forget") for row in noise]
    paths = [Course(EVIL, [(float(a), float(b)) for a, b in zip(row, noise[0])], "m1") for row in noise]
    marks = [Place(EVIL, float(i), float(i), "original", "diamond") for i in range(12)]
    rows = [Interval(EVIL, float(i), -1e9, 1e9, "unlearned", "triangle") for i in range(200)]
    bands = [(EVIL, [Sample(EVIL + str(i), row.tolist(), "forget", True) for row in noise[:3]]) for i in range(4)]
    rates = np.linspace(0, 1, 4_000).tolist()
    curves = [Curve(EVIL, rates, rates, "retrained") for _ in range(5)]
    drawn = {
        "lines": lines(long_lines, label=EVIL, x_label=EVIL, y_label=EVIL),
        "plane": plane(paths, marks, label=EVIL, x_label=EVIL, y_label=EVIL),
        "intervals": intervals(rows, label=EVIL, x_label=EVIL, target=0.5),
        "distributions": distributions(bands, label=EVIL, x_label=EVIL),
        "roc": roc(curves, label=EVIL, x_label=EVIL, y_label=EVIL),
        "no lines": lines([], label=EVIL, x_label=EVIL, y_label=EVIL),
        "no plane": plane([], [], label=EVIL, x_label=EVIL, y_label=EVIL),
        "no intervals": intervals([], label="none", x_label=""),
        "no distributions": distributions([], label="none", x_label=""),
        "no curves": roc([], label=EVIL, x_label=EVIL, y_label=EVIL),
    }
    for name, svg in drawn.items():
        root = ElementTree.fromstring(svg)
        assert root.tag == "svg", name
        assert len(svg.encode()) <= 20_000, f"{name}: {len(svg.encode())}"
        assert "nan" not in svg, name


def test_thinning_keeps_ends_means_and_gaps() -> None:
    points = [(float(i), float(i)) for i in range(1_000)]
    path = thin_path(points, 50)
    assert (path[0], path[-1]) == (points[0], points[-1])
    assert len(path) <= 51
    curve = thin(points, 50)
    assert len(curve) <= 50
    assert curve[0] == (9.5, 9.5)
    assert thin([(float(i), None) for i in range(10)], 5) == [(0.5 + 2 * i, None) for i in range(5)]
