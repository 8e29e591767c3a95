"""T6–T9: what the two loops do over time, on problems whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ofmu.core import Penalty, Phi, Problem, SolveOptions, Vector, inner, outer, solve
from ofmu.core.guard import curvature_along, guarded
from reference.dense import Toy, flat, gradient, naive_similarity

PLAIN = {"scale": "raw", "guard": False, "stable": False, "derivatives": "exact"}


def test_t6_the_two_loops_are_gradient_descent_on_j() -> None:
    """J = L_r − λ_eff L_f + λ_eff β s + ρ‖∇Φ‖²; the distance to descent on J shrinks with the steps."""
    toy, lam, beta, rho, time = Toy(seed=2), 0.5, 0.1, 0.05, 0.8
    _, retain = toy.flat_losses()
    reference = float(toy.forget(toy.cut(toy.theta)))

    def bounded(nll: Tensor) -> Tensor:  # NPO's form: forgetting with an end
        return -2 * torch.nn.functional.softplus(-(nll - reference))

    def J(theta: Tensor) -> Tensor:
        L_f = bounded(toy.forget(toy.cut(theta)))
        (g_f,) = torch.autograd.grad(L_f, theta, create_graph=True)
        (g_r,) = torch.autograd.grad(retain(theta), theta, create_graph=True)
        s = naive_similarity("cosine", g_f, g_r)
        (w,) = torch.autograd.grad(L_f - beta * s, theta, create_graph=True)
        return retain(theta) - lam * L_f + lam * beta * s + rho * (w @ w)

    def gap(eta: float, inner_steps: int) -> float:
        rounds = round(time / eta)
        theta = toy.theta.clone()
        for _ in range(rounds):
            theta -= eta * gradient(J, theta)
        p = toy.leaves()
        problem = Problem(p, lambda: bounded(toy.forget(p)), lambda: toy.retain(p))
        options = SolveOptions(
            rounds=rounds,
            inner_steps=inner_steps,
            outer_lr=eta,
            lambda_eff=lam,
            similarity="cosine",
            beta=beta,
            rho=rho,
            **PLAIN,
        )
        assert len(list(solve(problem, options))) == rounds
        return float((flat(p) - theta).norm() / (theta - toy.theta).norm())

    for inner_steps in (1, 2, 5):
        coarse, fine = gap(0.2, inner_steps), gap(0.05, inner_steps)
        assert math.log(coarse / fine) / math.log(4) >= 0.8
        assert fine < 0.1


def mode(curvature: float, **options: float | bool) -> list[float]:
    """|θ| after each round, for L_f = ½λθ², L_r = 0, θ_0 = 1."""
    p = {"x": torch.ones((), dtype=torch.float64, requires_grad=True)}
    problem = Problem(p, lambda: curvature * p["x"] ** 2 / 2, lambda: 0 * p["x"])
    return [abs(float(p["x"].detach())) for _ in solve(problem, SolveOptions(beta=0.0, **{**PLAIN, **options}))]


def test_t7_the_penalty_undoes_forgetting_beyond_the_threshold() -> None:
    lam, steps, eta_out, lambda_eff = 0.8, 4, 0.1, 0.6
    eta_in = lambda_eff * eta_out / steps
    threshold = (1 - (1 + eta_in * lam) ** -steps) / (2 * eta_out * lam**2)  # (32)
    common = {"rounds": 5, "inner_steps": steps, "outer_lr": eta_out, "lambda_eff": lambda_eff}
    assert mode(lam, rho=0.99 * threshold, **common)[-1] > 1
    assert mode(lam, rho=1.01 * threshold, **common)[-1] < 1
    assert mode(lam, rho=1.01 * threshold, **{**common, "guard": True})[-1] > 1


@pytest.mark.parametrize("outer_steps", [1, 2, 3])
def test_t7_capped_a_round_keeps_what_it_forgot_over_all_its_outer_steps(outer_steps: int) -> None:
    common = {"rounds": 5, "inner_steps": 4, "outer_lr": 0.1, "lambda_eff": 0.6, "rho": 2.0, "outer_steps": outer_steps}
    assert mode(0.8, **common)[-1] < 1
    assert mode(0.8, keep=True, **common)[-1] >= 1


def test_t7_without_ascents_the_cap_leaves_nothing_of_the_penalty() -> None:
    common = {"rounds": 5, "inner_steps": 4, "outer_lr": 0.1, "lambda_eff": 0.6, "rho": 0.1, "inner_tolerance": 1.0}
    assert mode(0.8, **common)[-1] < 1
    assert mode(0.8, keep=True, **common)[-1] == 1


def test_t7_the_penalty_is_stable_up_to_the_bound_and_the_cap_keeps_it_there() -> None:
    lam, eta_out = 0.8, 0.1
    bound = 1 / (eta_out * lam**2)  # (31): |1 − 2ρηλ²| < 1
    common = {"rounds": 40, "inner_steps": 1, "outer_lr": eta_out, "lambda_eff": 0.0}
    assert mode(lam, rho=0.99 * bound, **common)[-1] < 1
    assert mode(lam, rho=1.01 * bound, **common)[-1] > 1
    assert mode(lam, rho=100 * bound, **{**common, "stable": True})[-1] < 1e-12  # ρ = bound/2: 1 − 2ρηλ² = 0


def test_t8_the_penalty_on_a_logistic_loss_remembers_and_the_guarded_one_does_not() -> None:
    x = torch.tensor([0.6, -1.1, 0.4], dtype=torch.float64)
    p = {"w": torch.tensor([0.5, 0.2, -0.3], dtype=torch.float64, requires_grad=True)}

    def nll() -> Tensor:
        return torch.nn.functional.softplus(-(p["w"] @ x))

    problem = Problem(p, nll, lambda: 0 * p["w"].sum())
    start, moved = float(nll().detach()), {}
    for guard in (False, True):
        found = outer(problem, Phi(beta=0.0), "exact", Penalty(rho=1.0, guard=guard))
        assert found.penalty is not None
        assert found.kappa is not None
        assert found.kappa > 0
        assert found.guarded == guard
        with torch.no_grad():
            p["w"] -= 0.1 * found.penalty["w"]
            moved[guard] = float(nll()) - start
            p["w"] += 0.1 * found.penalty["w"]
    assert moved[False] < -1e-3
    assert abs(moved[True]) < 1e-12
    for seed in range(5):
        torch.manual_seed(seed)
        w, y = (Vector(a=torch.randn(9, dtype=torch.float64)) for _ in range(2))
        kappa = curvature_along(w, y)
        assert kappa is not None
        before = y.clone()
        assert float(w.dot(guarded(w, y, kappa))) <= 1e-12
        assert (float((y - before).norm()) == 0) == (kappa <= 0)


@pytest.mark.parametrize("margin", [-8.0, -2.0, 0.0, 2.0, 8.0])
def test_t8_at_every_margin_the_penalty_leads_back_to_remembering(margin: float) -> None:
    """(41): d(ℓ'²)/dz = −2σ(−z)²σ(z) < 0 for every z, so that descent on ‖∇Φ‖² raises z and lowers the loss."""
    z = torch.tensor([margin], dtype=torch.float64, requires_grad=True)
    problem = Problem({"z": z}, lambda: torch.nn.functional.softplus(-z).sum(), lambda: 0 * z.sum())
    found = outer(problem, Phi(beta=0.0), "exact", Penalty(rho=1.0))
    sigma = 1 / (1 + math.exp(-margin))
    assert found.penalty is not None
    assert found.kappa == pytest.approx(sigma * (1 - sigma), rel=1e-12)
    assert float(found.penalty["z"]) == pytest.approx(-2 * (1 - sigma) ** 2 * sigma, rel=1e-12)


@pytest.mark.parametrize("seed", [2, 8])
def test_t9_the_inner_loop_forgets_and_decorrelates(seed: int) -> None:
    """Full batches, so the cosine needs no debiasing; the paper's cosine ends opposed, not decorrelated."""

    def ascend(similarity: str) -> tuple[float, float, float]:
        toy = Toy(seed=seed)
        p = toy.leaves()
        problem = Problem(p, lambda: toy.forget(p), lambda: toy.retain(p))
        start = inner(problem, Phi(beta=0.0))
        for _ in range(100):
            at = inner(problem, Phi(beta=0.9, similarity=similarity, scale="relative"))
            Vector(p).add_(at.gradient, 0.05)
        risen = float(toy.forget(p).detach()) - float(toy.forget(toy.cut(toy.theta)))
        return risen, start.c, inner(problem, Phi(beta=0.0)).c

    risen, before, after = ascend("squared_hinge")
    assert risen > 1
    assert before > 0.2
    assert abs(after) < 0.1
    risen, _, after = ascend("cosine")
    assert risen > 1
    assert after < -0.5
