"""What the two loops do: the λ_eff identity (30), where penalties undo (32) and are unstable (31), and how far (33)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ofmu.benchmarks.convergence_course import PLAIN, Point, course, slope
from ofmu.benchmarks.convergence_problems import Known
from ofmu.core import Problem, SolveOptions, solve

LAMBDA_EFF, BETA, RHO_OF_J = 0.5, 0.05, 0.02
TIME = 1.6
"""η_out times rounds, the same for every step size."""
SCHEDULE_T, SCHEDULE_RHO = 4, 0.5


def same_as_one_descent(known: Known, rates: Sequence[float], steps: Sequence[int]) -> list[dict[str, Any]]:
    """(30): how far two loops end from gradient descent on J = L_r − λ_eff L_f + λ_eff β s + ρ‖∇Φ‖², s = c².

    J is differentiated automatically, without the core. Half way between 0 and the problem's start, where neither
    gradient vanishes and the cosine has a slope.

    Returns:
        A row for each T: the distance as a share of the way at each η_out, and its exponent in η_out.
    """
    known = replace(known, start=known.start / 2)
    ends = {rate: _descended(known, rate) for rate in rates}
    rows = []
    for inner_steps in steps:
        gaps = []
        for rate in rates:
            problem, theta = known.problem()
            options = SolveOptions(
                rounds=round(TIME / rate),
                inner_steps=inner_steps,
                outer_lr=rate,
                lambda_eff=LAMBDA_EFF,
                rho=RHO_OF_J,
                **{**PLAIN, "beta": BETA, "similarity": "squared_cosine"},
            )
            list(solve(problem, options))
            gaps.append(float((theta.detach() - ends[rate]).norm() / (ends[rate] - known.start).norm()))
        named = {f"η_out = {rate:g}": gap for rate, gap in zip(rates, gaps, strict=True)}
        rows.append({"problem": known.name, "T": inner_steps, **named, "exponent": slope(rates, gaps), "claimed": 1})
    return rows


def thresholds(curvature: float = 0.8, outer_lr: float = 0.1, lambda_eff: float = 0.6) -> list[dict[str, Any]]:
    """(32) and (31) on one mode, L_f = ½λx²: the ρ at which a run turns, by halving, beside the formula."""

    def ends_lower(rho: float, inner_steps: int, lam: float, rounds: int) -> bool:
        x = torch.ones((), dtype=torch.float64, requires_grad=True)
        problem = Problem({"x": x}, lambda: curvature * x**2 / 2, lambda: 0 * x)
        options = SolveOptions(
            rounds=rounds, inner_steps=inner_steps, outer_lr=outer_lr, lambda_eff=lam, rho=rho, **PLAIN
        )
        list(solve(problem, options))
        return abs(float(x.detach())) < 1

    rows = []
    for steps in (1, 4, 16):
        grown = (1 + lambda_eff * outer_lr / steps * curvature) ** steps
        formula = (1 - 1 / grown) / (2 * outer_lr * curvature**2)
        found = _turn(lambda rho, steps=steps: ends_lower(rho, steps, lambda_eff, 1), 0.0, 2 * formula)
        rows.append({"what turns": f"(32) forgetting is undone, T = {steps}", "formula": formula, "measured": found})
    formula = 1 / (outer_lr * curvature**2)
    found = _turn(lambda rho: not ends_lower(rho, 1, 0.0, 3), 0.6 * formula, 1.6 * formula)
    rows.append({"what turns": "(31) the penalty is unstable", "formula": formula, "measured": found})
    return [{**row, "relative difference": abs(row["measured"] / row["formula"] - 1)} for row in rows]


def schedules(known: Known, rounds: int) -> tuple[list[dict[str, Any]], dict[str, list[Point]]]:
    """How near each rule for ρ comes to the bi-level solution, and how far it goes in all (33).

    Returns:
        A row for each rule, and its course.
    """
    rate = 1 / known.smoothness(SCHEDULE_RHO)
    shared = {"rounds": rounds, "inner_steps": SCHEDULE_T, "outer_lr": rate, "rho": SCHEDULE_RHO}
    shared |= {"lambda_eff": SCHEDULE_T / known.phi_smoothness / rate, **PLAIN}
    rules: dict[str, dict[str, Any]] = {
        "constant": {"schedule": "constant"},
        "polynomial, p = 1, matched": {"schedule": "polynomial", "matched": True},
        "polynomial, p = ½, matched": {"schedule": "polynomial", "rho_power": 0.5, "matched": True},
        "geometric, γ = 1.05, matched": {"rho_growth": 1.05, "matched": True},
        "geometric, γ = 1.05, under (31)": {"rho_growth": 1.05, "stable": True},
        "adaptive, γ = 1.2, under (31)": {"schedule": "adaptive", "rho_growth": 1.2, "stable": True},
        "augmented Lagrangian": {"schedule": "constant", "multipliers": True},
        "augmented Lagrangian, without inner steps": {"schedule": "constant", "multipliers": True, "lambda_eff": 0.0},
    }
    rows, courses = [], {}
    for name, options in rules.items():
        points = courses[name] = course(known, SolveOptions(**{**shared, **options}))
        end = points[-1]
        late = [point for point in points if point.rounds >= rounds / 16]
        residuals = [point.stationarity for point in late]
        growth = options.get("rho_growth", 1.0)
        finite = growth > 1 and options.get("matched")
        rows.append(
            {
                "problem": known.name,
                "rule": name,
                "distance": end.distance,
                "exponent of the distance": slope([p.rounds for p in late], [p.distance or 0.0 for p in late]),
                "‖∇Φ‖": end.stationarity,
                "exponent of ‖∇Φ‖": slope([p.rounds for p in late], residuals),
                "‖∇L_r‖": end.retain_gradient,
                "way": end.travelled,
                "Σ η_k, (33)": rate * growth / (growth - 1) if finite else None,
            }
        )
    return rows, courses


def _descended(known: Known, rate: float) -> Tensor:
    theta = known.start.clone()
    for _ in range(round(TIME / rate)):
        at = theta.requires_grad_()
        (g_f,) = torch.autograd.grad(known.forget(at), at, create_graph=True)
        (g_r,) = torch.autograd.grad(known.retain(at), at, create_graph=True)
        s = (g_f @ g_r) ** 2 / ((g_f @ g_f) * (g_r @ g_r))
        phi = known.forget(at) - BETA * s
        (w,) = torch.autograd.grad(phi, at, create_graph=True)
        J = known.retain(at) - LAMBDA_EFF * phi + RHO_OF_J * (w @ w)
        (step,) = torch.autograd.grad(J, at)
        theta = (at - rate * step).detach()
    return theta


def _turn(above: Callable[[float], bool], low: float, high: float) -> float:
    """Where a statement about ρ turns from false to true, to 2⁻¹⁴ of the range."""
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return (low + high) / 2
