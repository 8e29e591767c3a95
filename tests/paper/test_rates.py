"""T14, (34) to (36): descent on F beats its bound and has no floor; two loops rest where theory says, not at ∇F = 0."""

from __future__ import annotations

import torch
from torch import Tensor

from ofmu.core import Problem, SolveOptions, solve

PLAIN = {"beta": 0.0, "scale": "raw", "guard": False, "stable": False, "derivatives": "exact"}
RHO = 0.5
A = torch.tensor([[1.0, 0.2, 0.0], [0.2, 0.6, 0.1], [0.0, 0.1, 0.4]], dtype=torch.float64)
B = torch.tensor([[0.7, -0.1, 0.2], [-0.1, 1.0, 0.0], [0.2, 0.0, 0.3]], dtype=torch.float64)
M = torch.tensor([1.0, -1.0, 2.0], dtype=torch.float64)
C = torch.tensor([-2.0, 1.0, 0.5], dtype=torch.float64)
L_F = float(torch.linalg.matrix_norm(B + 2 * RHO * A @ A, 2))  # exact for quadratics (33)
H = float(torch.linalg.matrix_norm(A, 2))


def concave() -> tuple[Problem, Tensor]:
    """Φ = L_f = −½(θ−m)ᵀA(θ−m), L_r = ½(θ−c)ᵀB(θ−c), A and B positive definite."""
    t = C.clone().requires_grad_()
    return Problem({"t": t}, lambda: -(t - M) @ A @ (t - M) / 2, lambda: (t - C) @ B @ (t - C) / 2), t


def descent(theta: Tensor) -> Tensor:
    """∇F by hand."""
    return B @ (theta - C) + 2 * RHO * A @ A @ (theta - M)


def objective(theta: Tensor) -> float:
    w = A @ (theta - M)
    return float((theta - C) @ B @ (theta - C) / 2 + RHO * (w @ w))


def test_without_an_inner_loop_the_gradient_is_below_its_bound_and_has_no_floor() -> None:
    problem, t = concave()
    lowest = torch.linalg.solve(B + 2 * RHO * A @ A, B @ C + 2 * RHO * A @ A @ M)
    bound, theta, steepest, best = 2 * L_F * (objective(C) - objective(lowest)), C.clone(), 0.0, float("inf")
    options = SolveOptions(rounds=60, inner_steps=1, outer_lr=1 / L_F, lambda_eff=0.0, rho=RHO, **PLAIN)
    for seen in solve(problem, options):
        best = min(best, float(descent(theta) @ descent(theta)))
        assert best <= bound / (seen.k + 1)  # (34)
        steepest = max(steepest, float((B @ (theta - C)).norm()))
        theta = theta - descent(theta) / L_F
        assert torch.allclose(t.detach(), theta, rtol=1e-10, atol=1e-12)
    assert best < 1e-6 * 2 * steepest**2  # (36) says no more than that it is not above
    assert float((theta - M).norm()) > 0.5, "and yet far from the bi-level solution m"


def test_with_an_inner_loop_the_run_rests_where_nabla_f_is_not_zero() -> None:
    """The fixed point of θ' = m + P(θ − m), θ = θ' − ∇F(θ')/L_F, P = (I − A/H)ᵀ to the power of T, by a linear system.

    More inner steps come nearer to the solution m, and leave a larger ∇F.
    """
    eye = torch.eye(3, dtype=torch.float64)
    found = []
    for inner_steps in (1, 4, 12):
        problem, t = concave()
        ascent = torch.linalg.matrix_power(eye - A / H, inner_steps)
        outer = eye - (B + 2 * RHO * A @ A) / L_F
        constant = outer @ (M - ascent @ M) + (B @ C + 2 * RHO * A @ A @ M) / L_F
        rest = torch.linalg.solve(eye - outer @ ascent, constant)
        options = SolveOptions(
            rounds=40, inner_steps=inner_steps, outer_lr=1 / L_F, lambda_eff=inner_steps * L_F / H, rho=RHO, **PLAIN
        )
        list(solve(problem, options))
        assert torch.allclose(t.detach(), rest, rtol=0, atol=1e-6)
        found.append((float((rest - M).norm()), float(descent(rest).norm())))
    distances, gradients = zip(*found, strict=True)
    assert distances[0] > distances[1] > distances[2]
    assert 0.5 < gradients[0] < gradients[1] < gradients[2]
