"""The theory of OFMU run on small problems with a known answer: rates, thresholds, schedules, and what they end at.

Four problems in float64 with full gradients (two quadratics, a regularised logistic regression and a network, both on
scikit-learn's digits), a few minutes on one core. The similarity is off, but for the λ_eff identity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from markupsafe import Markup

from ofmu import ranges
from ofmu.errors import InputError
from ofmu.ranges import Range

RATES = (0.05, 0.025, 0.0125)
SIGMAS = (0.03, 0.1, 0.3)


@dataclass(frozen=True, kw_only=True)
class Options:
    """`ofmu bench convergence`."""

    rounds: Annotated[int, Range(ge=8, le=100_000)] = 512
    """Rounds K without an inner loop; half as many under the schedules, a quarter with noise, an eighth against T."""
    inner_steps: Annotated[int, Range(ge=2, le=1024)] = 16
    """Largest T."""
    budget: Annotated[int, Range(ge=20)] = 2000
    """Gradients of each form of the constraint."""
    output: str | None = None
    """Folder for the tables and plots. Left out: nothing is kept."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run every study.

    Args:
        options: what to do.
        tell: is told what is going on.

    Returns:
        ``tables``: title → rows; ``seconds``; ``files`` and ``options``.

    Raises:
        InputError: an option cannot be used.
    """
    from ofmu.benchmarks.convergence_problems import all_problems
    from ofmu.benchmarks.plain import plain

    ranges.check(options)
    if options.output is not None and Path(options.output).is_file():
        raise InputError(f"output {options.output} is a file; give a folder")
    began = perf_counter()
    tell("problems: two quadratics, logistic regression and a network on digits")
    problems = all_problems()
    tables: dict[str, list[dict[str, Any]]] = {}
    figures: dict[str, Markup] = {}
    for study in (_rates, _noise, _dynamics, _schedules, _constraint):
        found, drawn = study(problems, options, tell)
        tables |= found
        figures |= drawn
    result = {
        "benchmark": "convergence",
        "tables": tables,
        "seconds": perf_counter() - began,
        "options": {name: value for name, value in asdict(options).items() if name != "output"},
    }
    files = [] if options.output is None else _write(Path(options.output), result, figures)
    return plain({**result, "files": files})


def _rates(problems: list[Any], options: Options, tell: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, Any]]:
    from ofmu.benchmarks.convergence_figures import against_rounds, descent_alone
    from ofmu.benchmarks.convergence_rates import grid, without_inner_loop

    alone, rows, courses, by_steps = [], [], {}, {}
    for known in problems:
        tell(f"rates: {known.name}")
        row, courses[known.name] = without_inner_loop(known, options.rounds)
        alone.append(row)
        found, by_steps[known.name] = grid(known, options.rounds // 8, options.inner_steps)
        rows += found
    flat = {f"T = {steps}": points for steps, points in by_steps[problems[1].name].items()}
    label = f"Distance to the bi-level solution: {problems[1].name}"
    return (
        {"penalty alone, fixed ρ": alone, "both loops, fixed steps and ρ": rows},
        {
            "penalty-alone": descent_alone(courses),
            "distance-against-T": against_rounds(flat, "distance", label=label, y_label="‖θ − θ*‖"),
        },
    )


def _noise(problems: list[Any], options: Options, tell: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, Any]]:
    from ofmu.benchmarks.convergence_figures import noise as drawn
    from ofmu.benchmarks.convergence_rates import noise

    rows, exponents = [], []
    for known in (problems[0], problems[3]):
        tell(f"noise: {known.name}")
        found, exponent = noise(known, options.rounds // 4, SIGMAS, min(4, options.inner_steps))
        rows += found
        exponents.append({"problem": known.name, "exponent of the excess in σ": exponent, "claimed": 2})
    return {"gradient noise": rows, "gradient noise, exponents": exponents}, {"noise": drawn(rows)}


def _dynamics(
    problems: list[Any], options: Options, tell: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    from ofmu.benchmarks.convergence_dynamics import same_as_one_descent, thresholds
    from ofmu.benchmarks.convergence_figures import same_descent

    tell("the identity (30) and the thresholds (31), (32)")
    steps = (1, min(4, options.inner_steps))
    rows = [row for known in (problems[1], problems[3]) for row in same_as_one_descent(known, RATES, steps)]
    return {"two loops as one descent (30)": rows, "thresholds of ρ": thresholds()}, {"one-descent": same_descent(rows)}


def _schedules(
    problems: list[Any], options: Options, tell: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    from ofmu.benchmarks.convergence_dynamics import schedules
    from ofmu.benchmarks.convergence_figures import against_rounds

    rows, figures = [], {}
    for known, name in ((problems[1], "quadratic"), (problems[2], "logistic")):
        tell(f"schedules: {known.name}")
        found, courses = schedules(known, options.rounds // 2)
        rows += found
        label = f"Distance to the bi-level solution: {known.name}"
        figures[f"schedules-{name}"] = against_rounds(courses, "distance", label=label, y_label="‖θ − θ*‖")
    return {"schedules of ρ": rows}, figures


def _constraint(
    problems: list[Any], options: Options, tell: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    from ofmu.benchmarks.convergence_constraint import forms
    from ofmu.benchmarks.convergence_figures import against_gradients

    rows, figures = [], {}
    for known, name in zip(problems[1:], ("quadratic", "logistic", "network"), strict=True):
        tell(f"exact against soft constraint: {known.name}")
        found, courses = forms(known, options.budget)
        rows += found
        field, shown = ("stationarity", "‖∇Φ‖") if known.solution is None else ("distance", "‖θ − θ*‖")
        label = f"The constraint at equal gradients: {known.name}"
        figures[f"constraint-{name}"] = against_gradients(courses, field, label=label, y_label=shown)
    return {"inner problem to a tolerance, and the soft constraint": rows}, figures


def _write(folder: Path, result: dict[str, Any], figures: dict[str, Markup]) -> list[str]:
    from ofmu.benchmarks import drawings
    from ofmu.benchmarks.plain import plain
    from ofmu.benchmarks.tables import markdown
    from ofmu.runs.directory import write_json, write_text

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "convergence.json", plain(result))
    write_text(folder / "tables.md", markdown(result["tables"]))
    for name, svg in figures.items():
        drawings.write(svg, folder / f"{name}.svg")
    return ["convergence.json", "tables.md", *(f"{name}.svg" for name in figures)]
