"""The plots of `ofmu bench convergence`; logarithms of K, T, steps and noise on the horizontal axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from ofmu.benchmarks.convergence_course import Point
from ofmu.report.charts import Line, lines

_TONES: Final = ("m1", "unlearned", "m2", "retrained", "m3", "m4", "m5", "original")
SMALLEST: Final = 1e-16
"""Below this a curve is rounding, and ends."""


def against_rounds(courses: Mapping[str, Sequence[Point]], field: str, *, label: str, y_label: str) -> Markup:
    """One quantity of several runs over log₂ of the rounds, on a logarithmic axis.

    Args:
        courses: a curve each, at most eight.
        field: of :class:`~ofmu.benchmarks.convergence_course.Point`.
        label: what the chart shows.
        y_label: what the vertical axis shows.
    """
    points = {name: [(math.log2(p.rounds), getattr(p, field)) for p in found] for name, found in courses.items()}
    return _chart(points, label, "log₂ of the rounds K", y_label)


def against_gradients(courses: Mapping[str, Sequence[Point]], field: str, *, label: str, y_label: str) -> Markup:
    """As :func:`against_rounds`, over log₂ of the gradients spent."""
    points = {name: [(math.log2(p.gradients), getattr(p, field)) for p in found] for name, found in courses.items()}
    return _chart(points, label, "log₂ of the gradients spent", y_label)


def descent_alone(courses: Mapping[str, Sequence[Point]]) -> Markup:
    """‖∇F‖² without the inner loop, beside the claimed 1/K."""
    points = {name: [(math.log2(p.rounds), p.descent**2) for p in found] for name, found in courses.items()}
    longest = max(points.values(), key=len)
    claimed = [(x, longest[0][1] / 2**x) for x, _ in longest]
    return _chart(
        points, "‖∇F‖² without inner steps, at fixed ρ", "log₂ of the rounds K", "‖∇F‖²", ("claimed 1/K", claimed)
    )


def same_descent(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """(30): distance between two loops and one descent, against the step size."""
    points = {}
    for row in rows:
        rates = {name: value for name, value in row.items() if name.startswith("η_out = ")}
        found = [(math.log2(float(name.partition("= ")[2])), value) for name, value in rates.items()]
        points[f"{row['problem']}, T = {row['T']}"] = sorted(found)
    return _chart(points, "Two loops and one descent on J", "log₂ of η_out", "distance, as a share of the way")


def noise(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """‖∇F‖² that is left over against the noise, a curve a form."""
    first = next(iter(rows))["problem"]
    forms = [name for name in rows[0] if name.startswith("‖∇F‖²")]
    shown = [row for row in rows if row["problem"] == first and row["σ"] > 0]
    points = {form: [(math.log2(row["σ"]), row[form]) for row in shown] for form in forms}
    return _chart(points, f"What noise leaves: {first}", "log₂ of σ", "mean ‖∇F‖² of the last rounds")


def _chart(
    points: Mapping[str, Sequence[tuple[float, float | None]]],
    label: str,
    x_label: str,
    y_label: str,
    claimed: tuple[str, Sequence[tuple[float, float | None]]] | None = None,
) -> Markup:
    curves = [
        Line(name, [(x, y if y is not None and y > SMALLEST else None) for x, y in found], tone, dotted=True)
        for (name, found), tone in zip(points.items(), _TONES, strict=False)
    ]
    if claimed is not None:
        curves.append(Line(claimed[0], claimed[1], "ink", dashed=True))
    return lines(curves, label=label, x_label=x_label, y_label=y_label, log=True)
