"""The error of differences over their steps: what the automatic step reaches, and what no step can better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from ofmu.benchmarks.derivatives_referee import error
from ofmu.errors import RunError

if TYPE_CHECKING:
    from ofmu.benchmarks.derivatives_referee import Truth
    from ofmu.core import FiniteDifference, Phi, Problem

VARIED: Final = {
    "∇Φ": ("forget", "retain"),
    "y, steps inside": ("forget, differenced", "retain, differenced"),
    "y, step outside": ("phi",),
}
"""The products whose steps are varied, the others being left as they are."""


def sweep(
    problem: Problem,
    phi: Phi,
    backend: FiniteDifference,
    truth: Truth,
    per_decade: int,
    tell: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Errors of ∇Φ and y with steps from a tenth to ten times the automatic ones.

    Args:
        problem: parameters and losses.
        phi: Φ, in raw scale.
        backend: differences, forward or central.
        truth: what they should give.
        per_decade: steps a decade.
        tell: is told what is going on.

    Returns:
        A row a step: ``quantity``, ``factor`` (of the automatic steps, 1 being those themselves), ``h`` of the first
        product varied, as a share of ‖θ‖, and ``error``, None where h is lost in the parameters' rounding.
    """
    from ofmu.core import Penalty, Vector, inner, outer

    def of_gradient() -> float:
        return error(inner(problem, phi, backend).gradient, truth.gradient)

    def of_penalty() -> float:
        y = outer(problem, phi, backend, Penalty(rho=0.5)).penalty
        assert y is not None
        return error(y, truth.curvature)

    for _ in range(2):  # the first products look for their steps, the second correct them
        of_gradient()
        of_penalty()
    backend.refresh()
    automatic = backend.steps
    size = float(Vector(problem.parameters).detach().norm())
    rows = []
    for quantity, keys in VARIED.items():
        tell(f"sweep, {quantity}")
        for n in range(-per_decade, per_decade + 1):
            backend.refresh()
            for key, h in automatic.items():
                backend.set_step(key, h * (10 ** (n / per_decade) if key in keys else 1.0))
            h = backend.steps[keys[0]] / size
            try:
                found: float | None = of_gradient() if quantity == "∇Φ" else of_penalty()
            except RunError:
                found = None
            rows.append({"quantity": quantity, "factor": 10 ** (n / per_decade), "h": h, "error": found})
    return rows


def tables_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The sweep, and by form and quantity the error at the automatic step, the smallest one, and where it lies."""
    if not rows:
        return {}
    groups = dict.fromkeys((row["form"], row["quantity"]) for row in rows)
    summary = []
    for form, quantity in groups:
        found = [row for row in rows if (row["form"], row["quantity"]) == (form, quantity) and row["error"] is not None]
        best = min(found, key=lambda row: row["error"])
        here = next(row for row in found if row["factor"] == 1)
        summary.append(
            {
                "form": form,
                "quantity": quantity,
                "automatic h": here["h"],
                "error": here["error"],
                "smallest error": best["error"],
                "at h": best["h"],
                "error in units of the smallest": here["error"] / best["error"],
            }
        )
    return {"automatic steps and the best": summary, "sweep of the steps": list(rows)}


def figure(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """The errors over the steps, a curve a form and quantity."""
    from ofmu.report.charts import Line, lines

    tones = ("m1", "m2", "m3", "unlearned", "retrained", "m4")
    curves = []
    for (form, quantity), tone in zip(dict.fromkeys((r["form"], r["quantity"]) for r in rows), tones, strict=True):
        points = [
            (math.log10(row["h"]), row["error"]) for row in rows if (row["form"], row["quantity"]) == (form, quantity)
        ]
        name = "forward" if form == "finite_difference" else form
        curves.append(Line(f"{name}: {quantity}", points, tone, dashed=form == "central", dotted=True))
    return lines(
        curves,
        label="Error of differences against their step; the automatic steps are in the middle of each curve",
        x_label="log₁₀ of h/‖θ‖",
        y_label="relative error",
        log=True,
    )


def write(folder: Path, result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The result, its tables and, of a sweep, the plot.

    Returns:
        The files' names within the folder.
    """
    from ofmu.benchmarks import drawings
    from ofmu.benchmarks.plain import plain
    from ofmu.benchmarks.tables import markdown
    from ofmu.runs.directory import write_json, write_text

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "derivatives.json", plain(dict(result)))
    write_text(folder / "tables.md", markdown(result["tables"]))
    if not rows:
        return ["derivatives.json", "tables.md"]
    drawings.write(figure(rows), folder / "steps.svg")
    return ["derivatives.json", "tables.md", "steps.svg"]
