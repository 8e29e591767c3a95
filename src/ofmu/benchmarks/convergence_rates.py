"""What is left of each condition against K, T and gradient noise, and the exponents of the claimed rates (35)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from ofmu.benchmarks.convergence_course import PLAIN, Point, best_so_far, course, penalised_gradient, powers, slope
from ofmu.benchmarks.convergence_problems import Known
from ofmu.core import SolveOptions

RHO: Final = 1.0
QUANTITIES: Final = {"‖∇F‖²": "descent", "‖∇Φ‖²": "stationarity", "distance² to the bi-level solution": "distance"}


def plain(known: Known, *, rounds: int, inner_steps: int = 0, rho: float = RHO, shrink: float = 1.0) -> SolveOptions:
    """The two loops with fixed step sizes, each the inverse of its smoothness: η_in = 1/H, η_out = 1/L_F.

    Args:
        known: the problem.
        rounds: K.
        inner_steps: T; 0 for descent on F alone.
        rho: ρ, the same in all rounds.
        shrink: factor on both step sizes.
    """
    outer_lr = shrink / known.smoothness(rho)
    inner_lr = shrink / known.phi_smoothness
    steps = max(inner_steps, 1)
    lambda_eff = inner_steps * inner_lr / outer_lr
    return SolveOptions(
        rounds=rounds,
        inner_steps=steps,
        outer_lr=outer_lr,
        lambda_eff=lambda_eff,
        rho=rho,
        schedule="constant",
        **PLAIN,
    )


def without_inner_loop(known: Known, rounds: int) -> tuple[dict[str, Any], list[Point]]:
    """Descent on F at fixed ρ: (34), min ‖∇F‖² ≤ 2L_F(F_0 − F_*)/K, and the floor 2G_r² of (36).

    Returns:
        A row of the table, and the course.
    """
    points = course(known, plain(known, rounds=rounds), at=range(1, rounds + 1))
    best = list(best_so_far([point.descent**2 for point in points]))
    shown = powers(rounds)
    descent, w, _ = penalised_gradient(known, known.start, RHO)
    objective = float(known.retain(known.start) + RHO * (w @ w))
    bound = 2 * known.smoothness(RHO) * objective  # F_* ≥ 0, for both terms of F are
    late = [k for k in shown if k >= shown[-1] / 32]
    steepest = max(point.retain_gradient for point in points)
    row = {
        "problem": known.name,
        "K": rounds,
        "‖∇F‖² at the start": float(descent @ descent),
        "least ‖∇F‖²": best[-1],
        "exponent in K": slope(late, [best[k - 1] for k in late]),
        "claimed": -1,
        "largest share of bound (34)": max(value * k / bound for k, value in enumerate(best, start=1)),
        "floor 2G_r² of (36)": 2 * steepest**2,
        "distance to the solution": points[-1].distance,
    }
    return row, [points[k - 1] for k in shown]


def grid(known: Known, rounds: int, most_steps: int) -> tuple[list[dict[str, Any]], dict[int, list[Point]]]:
    """Algorithm 1 over K and T at fixed step sizes and ρ.

    Returns:
        Rows (a quantity each), and the course for each T.
    """
    courses = {steps: course(known, plain(known, rounds=rounds, inner_steps=steps)) for steps in powers(most_steps)}
    middle = courses[min(4, most_steps)]
    rows = []
    for name, field in QUANTITIES.items():
        values = {steps: _squares(points, field) for steps, points in courses.items()}
        if any(None in found for found in values.values()):
            continue
        late = [i for i, point in enumerate(middle) if point.rounds >= rounds / 16]
        in_k = slope([middle[i].rounds for i in late], [_squares(middle, field)[i] or 0.0 for i in late])
        in_t = slope(list(values), [found[-1] or 0.0 for found in values.values()])
        rows.append(
            {
                "problem": known.name,
                "quantity": name,
                "exponent in K": in_k,
                "exponent in T": in_t,
                "claimed in K": -1,
                "claimed in T": -1 if known.solution is None else -2,
                "T = 1": values[1][-1],
                f"T = {most_steps}": values[most_steps][-1],
            }
        )
    return rows, courses


def noise(known: Known, rounds: int, sigmas: Sequence[float], inner_steps: int) -> tuple[list[dict[str, Any]], float]:
    """What gradient noise leaves: means over the last quarter of a run, measured without noise.

    The part that is there without noise is taken off before the exponent is fitted.

    Returns:
        Rows (a size of noise each), and the exponent of the excess of ‖∇F‖² in σ; the claim is 2.
    """
    last = range(rounds - rounds // 4, rounds + 1)
    rows: list[dict[str, Any]] = []
    for sigma in (0.0, *sigmas):
        row: dict[str, Any] = {"problem": known.name, "σ": sigma}
        for name, steps, shrink in (
            ("‖∇F‖², T = 0", 0, 1.0),
            ("‖∇F‖², T = 0, steps halved", 0, 0.5),
            (f"‖∇F‖², T = {inner_steps}", inner_steps, 1.0),
        ):
            points = course(known, plain(known, rounds=rounds, inner_steps=steps, shrink=shrink), at=last, sigma=sigma)
            row[name] = sum(point.descent**2 for point in points) / len(points)
        rows.append(row)
    excess = [row["‖∇F‖², T = 0"] - rows[0]["‖∇F‖², T = 0"] for row in rows[1:]]
    return rows, slope(list(sigmas), excess) or math.nan


def _squares(points: Sequence[Point], field: str) -> list[float | None]:
    found = [getattr(point, field) for point in points]
    return [None if value is None else value**2 for value in found]
