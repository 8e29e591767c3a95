"""(55)–(57): the augmented Lagrangian against its own equations written densely, and where it ends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ofmu.core import FiniteDifference, Multipliers, Penalty, Phi, Problem, SolveOptions, Vector, outer, solve
from ofmu.errors import InputError
from reference.dense import Toy, error, flat, gradient, nabla_phi

PLAIN = {"beta": 0.0, "scale": "raw", "guard": False, "stable": False, "derivatives": "exact"}
A = torch.diag(torch.tensor([0.0, 0.0, 0.6, 0.8, 1.0], dtype=torch.float64))
B = torch.diag(torch.tensor([0.6, 1.0, 0.5, 0.7, 0.8], dtype=torch.float64))
B[0, 3] = B[3, 0] = 0.1
M = torch.tensor([1.0, -2.0, 0.5, 1.5, -1.0], dtype=torch.float64)
C = torch.tensor([-1.0, 0.3, 2.0, 0.0, 1.0], dtype=torch.float64)


def quadratics() -> tuple[Problem, Tensor]:
    """L_f = −½(θ−m)ᵀA(θ−m), with two flat directions; L_r = ½(θ−c)ᵀB(θ−c)."""
    t = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    return Problem({"t": t}, lambda: -(t - M) @ A @ (t - M) / 2, lambda: (t - C) @ B @ (t - C) / 2), t


def bilevel_solution() -> Tensor:
    """From the optimality conditions B(θ−c) + Aλ = 0, A(θ−m) = 0: one linear system, by its pseudo-inverse."""
    system = torch.cat([torch.cat([B, A], 1), torch.cat([A, torch.zeros_like(A)], 1)])
    return (torch.linalg.pinv(system) @ torch.cat([B @ C, A @ M]))[:5]


def test_gradient_of_the_lagrangian_is_the_derivative_of_its_sentence() -> None:
    toy = Toy(seed=2)
    forget, retain = toy.flat_losses()
    nu = torch.randn(len(toy.theta), generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def lagrangian(theta: Tensor) -> Tensor:
        w = nabla_phi(forget, retain, "squared_cosine", 0.7, theta)
        return retain(theta) + nu @ w + 0.4 * (w @ w)

    true = gradient(lagrangian, toy.theta)
    p = toy.leaves()
    problem = Problem(p, lambda: toy.forget(p), lambda: toy.retain(p))
    phi = Phi(similarity="squared_cosine", beta=0.7)
    penalty = Penalty(rho=0.4, multiplier=Vector(toy.cut(nu)))
    assert error(outer(problem, phi, "exact", penalty).gradient, true) < 1e-12
    fd = FiniteDifference(p, central=True)
    outer(problem, phi, fd, penalty)
    assert error(outer(problem, phi, fd, penalty).gradient, true) < 1e-5
    assert error(outer(problem, phi, "exact", Penalty(rho=0.4)).gradient, true) > 0.1


def test_rounds_follow_the_equations() -> None:
    problem, t = quadratics()
    rho, eta_out, eta_in, steps = 0.3, 0.2, 0.05, 2
    theta, nu = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    options = SolveOptions(
        rounds=5,
        inner_steps=steps,
        outer_lr=eta_out,
        lambda_eff=steps * eta_in / eta_out,
        rho=rho,
        multipliers=True,
        **PLAIN,
    )
    for seen in solve(problem, options):
        if seen.k > 0:
            nu = nu + 2 * rho * (-A @ (theta - M))
        for _ in range(steps):
            theta = theta + eta_in * (-A @ (theta - M))
        w = -A @ (theta - M)
        theta = theta - eta_out * (B @ (theta - C) - A @ (nu + 2 * rho * w))
        assert error({"t": t}, theta) < 1e-12


@pytest.mark.parametrize("lambda_eff", [0.0, 0.5])
def test_it_ends_at_the_bilevel_solution_at_a_weight_where_the_penalty_does_not(lambda_eff: float) -> None:
    common = {"rounds": 120, "inner_steps": 1, "outer_lr": 0.4, "lambda_eff": lambda_eff, "rho": 0.5, **PLAIN}
    reached = {}
    for multipliers in (False, True):
        problem, t = quadratics()
        list(solve(problem, SolveOptions(multipliers=multipliers, **common)))
        reached[multipliers] = float((flat({"t": t}) - bilevel_solution()).norm())
    assert reached[True] < 1e-4
    assert reached[False] > 0.2


def test_each_mode_is_stable_where_the_page_says_so() -> None:
    """(57) on one mode: curvature λ of Φ, s of L_r: stable where η(s + 3ρλ²) < 2, tried on both sides."""
    curvature, s, eta = 0.9, 0.5, 0.5
    bound = (2 / eta - s) / (3 * curvature**2)
    for rho, ends in ((0.95 * bound, True), (1.05 * bound, False)):
        x = torch.ones((), dtype=torch.float64, requires_grad=True)
        problem = Problem({"x": x}, lambda x=x: -curvature * x**2 / 2, lambda x=x: s * x**2 / 2)
        options = SolveOptions(rounds=80, outer_lr=eta, lambda_eff=0.0, rho=rho, multipliers=True, **PLAIN)
        list(solve(problem, options))
        assert (abs(float(x.detach())) < 1) == ends


def test_multipliers_are_saved_limited_and_refused() -> None:
    nu = Multipliers(largest=2.0)
    assert nu.state_dict() == {}
    nu.update(Vector(a=torch.tensor([3.0, 4.0])), 0.0)
    assert nu.value is None
    nu.update(Vector(a=torch.tensor([3.0, 4.0])), 0.1)
    assert nu.value is not None
    assert nu.value["a"].tolist() == pytest.approx([0.6, 0.8])
    again = Multipliers(largest=2.0)
    again.load_state_dict(nu.state_dict())
    for each in (nu, again):
        each.update(Vector(a=torch.tensor([3.0, 4.0])), 10.0)
        assert each.value is not None
        assert each.value["a"].tolist() == pytest.approx([1.2, 1.6])
    with pytest.raises(InputError, match="largest multiplier"):
        Multipliers(0.0)
