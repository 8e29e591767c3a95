"""How far a step may go: (32), the trust region (58), and what `solve` does with them."""

from __future__ import annotations

import math

import pytest
import torch

from ofmu.core import Penalty, Phi, Problem, SolveOptions, Vector, outer, solve
from ofmu.core.caps import undo_cap, within_reach

PLAIN = {"scale": "raw", "beta": 0.0, "guard": False, "stable": False, "derivatives": "exact"}


def quadratic(curvature: float, start: float = 1.0) -> tuple[Problem, torch.Tensor]:
    """L_f = ½λx², L_r = ½(x−2)²."""
    x = torch.full((), start, dtype=torch.float64, requires_grad=True)
    return Problem({"x": x}, lambda: curvature * x**2 / 2, lambda: (x - 2) ** 2 / 2), x


@pytest.mark.parametrize("curvature", [1e-6, 0.3, 2.0])
def test_undo_cap_is_where_a_round_leaves_the_mode_as_it_was(curvature: float) -> None:
    rho = undo_cap(0.05, 3, 0.2, curvature)
    assert (1 + 0.05 * curvature) ** 3 * (1 - 2 * rho * 0.2 * curvature**2) == pytest.approx(1, rel=1e-12)
    assert undo_cap(0.05, 3, 0.2, -curvature) == math.inf


def test_keep_holds_rho_at_the_undo_cap() -> None:
    problem, x = quadratic(0.7)
    options = SolveOptions(rounds=1, inner_steps=3, outer_lr=0.2, lambda_eff=0.6, rho=50.0, keep=True, **PLAIN)
    (seen,) = solve(problem, options)
    assert seen.rho == pytest.approx(undo_cap(0.6 * 0.2 / 3, 3, 0.2, 0.7), rel=1e-12)
    moved = (1 + 0.04 * 0.7) ** 3  # the inner steps; L_r's part of the outer step starts from there
    assert float(x.detach()) == pytest.approx(1 - 0.2 * (moved - 2), rel=1e-12)


def test_a_cap_by_curvature_only_lowers_rho() -> None:
    problem, _ = quadratic(0.7)
    for cap, expected in ((0.1, 0.1), (9.0, 3.0)):
        found = outer(
            problem, Phi(beta=0), "exact", Penalty(rho=3.0, cap=lambda kappa, cap=cap: cap if kappa == 0.7 else 0.0)
        )
        assert found.rho == expected


def test_within_reach_by_hand() -> None:
    step, theta = Vector(a=torch.tensor([3.0, 4.0])), Vector(a=torch.tensor([0.0, 2.0]))
    assert within_reach(step, theta, 0.1, None) == 1
    assert within_reach(step, theta, 0.1, 0.5) == 1
    assert within_reach(step, theta, 0.1, 0.05) == pytest.approx(0.2)
    assert within_reach(step, theta * 0.0, 0.1, 0.05) == 1


@pytest.mark.parametrize("largest", [0.01, 0.1])
def test_no_step_is_longer_than_the_trust_region(largest: float) -> None:
    problem, x = quadratic(-3.0, start=5.0)
    common = {"rounds": 6, "inner_steps": 1, "outer_lr": 0.3, "lambda_eff": 1.0, "rho": 0.1}
    before, shares = 5.0, []
    for seen in solve(problem, SolveOptions(**common, max_change=largest, **PLAIN)):
        now = float(x.detach())
        # two steps of at most δ|x| each
        assert abs(now - before) <= ((1 + largest) ** 2 - 1) * abs(before) * (1 + 1e-12)
        before = now
        shares.append(seen.share)
    assert shares[0] < 1
    free, y = quadratic(-3.0, start=5.0)
    assert [seen.share for seen in solve(free, SolveOptions(**common, **PLAIN))] == [1] * 6
    assert abs(float(y.detach())) != abs(before)
