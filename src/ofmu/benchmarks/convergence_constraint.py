"""The inner problem solved to a tolerance in every round, or a few steps and a soft constraint: equal gradients."""

from __future__ import annotations

from typing import Any, Final

from ofmu.benchmarks.convergence_course import PLAIN, Point, course
from ofmu.benchmarks.convergence_problems import Known
from ofmu.core import SolveOptions

RHO: Final = 0.5
STEPS: Final = 5


def forms(known: Known, budget: int) -> tuple[list[dict[str, Any]], dict[str, list[Point]]]:
    """Each form from the same start with the same step sizes, until it has spent its gradients.

    Derivatives are forward differences, which are counted: 2 gradients an inner step, 3 an outer one with a penalty,
    1 without. The runs end with the round that reaches the budget; one inner problem may take all of it. The guard (43)
    is left out: it has nothing to do where κ ≤ 0, as on these problems once L_f is near its maximum.

    Args:
        known: the problem.
        budget: gradients of one loss.

    Returns:
        A row for each form, and its course.
    """
    rate, inner_lr = 1 / known.smoothness(RHO), 1 / known.phi_smoothness
    shared = {**PLAIN, "derivatives": "finite_difference", "rounds": budget, "outer_lr": rate, "schedule": "constant"}
    few = {"inner_steps": STEPS, "lambda_eff": STEPS * inner_lr / rate}
    most = budget // 2
    many = {"inner_steps": most, "lambda_eff": most * inner_lr / rate, "rho": 0.0}
    options: dict[str, dict[str, Any]] = {
        "inner problem to 10⁻⁴": {**many, "inner_tolerance": 1e-4},
        "inner problem to 10⁻²": {**many, "inner_tolerance": 1e-2},
        f"T = {STEPS}, no penalty": {**few, "rho": 0.0},
        f"T = {STEPS}, penalty": {**few, "rho": RHO},
        f"T = {STEPS}, augmented Lagrangian": {**few, "rho": RHO, "multipliers": True},
        "penalty alone": {"inner_steps": 1, "lambda_eff": 0.0, "rho": RHO},
        f"T = {STEPS}, penalty, anchored": {**few, "rho": RHO, "base": "anchored"},
    }
    rows, courses = [], {}
    for name, chosen in options.items():
        points = courses[name] = course(known, SolveOptions(**{**shared, **chosen}), budget=budget)
        end = points[-1]
        rows.append(
            {
                "problem": known.name,
                "form": name,
                "gradients": end.gradients,
                "rounds": end.rounds,
                "‖∇Φ‖": end.stationarity,
                "not forgotten, max L_f − L_f": end.shortfall,
                "L_r": end.retain_loss,
                "distance": end.distance,
            }
        )
    return rows, courses
