"""(50), (51), (31), (43): a round in relative scale, guarded and capped, against naive differentiation."""

from __future__ import annotations

import pytest
from torch import Tensor

from ofmu.core import Problem, SolveOptions, solve
from reference.dense import Toy, error, gradient, nabla_phi

BETA, ETA, LAMBDA, STEPS = 0.6, 0.2, 0.8, 3


def by_hand(toy: Toy, rho: float, guard: bool) -> tuple[Tensor, float, float, float]:
    """θ after a round, β, ρ and κ."""
    forget, retain = toy.flat_losses()
    theta = toy.theta.clone()
    g_f = gradient(forget, theta)
    D = g_f - nabla_phi(forget, retain, "cosine", 1.0, theta.clone().requires_grad_()).detach()
    beta = float(BETA * g_f.norm() / D.norm())  # (50), found once and held
    for _ in range(STEPS):
        w = nabla_phi(forget, retain, "cosine", beta, theta.clone().requires_grad_()).detach()
        theta = theta + LAMBDA * ETA / STEPS * w
    w = nabla_phi(forget, retain, "cosine", beta, theta.clone().requires_grad_()).detach()
    y = gradient(lambda t: nabla_phi(forget, retain, "cosine", beta, t) @ w, theta)  # w held: ∇²Φ w
    g_r = gradient(retain, theta)
    kappa = float(w @ y / (w @ w))
    stable = float(1 / (2 * ETA * (y.norm() / w.norm()) ** 2))  # (31)
    weight = min(float(rho * g_r.norm() / (2 * y.norm())), stable)  # (51)
    y = y - max(0.0, kappa) * w if guard else y  # (43)
    return theta - ETA * (g_r + 2 * weight * y), beta, weight, kappa


@pytest.mark.parametrize("guard", [False, True])
@pytest.mark.parametrize(("rho", "capped"), [(0.2, False), (1e4, True)])
@pytest.mark.parametrize("seed", [2, 5])
def test_a_round_in_relative_scale(seed: int, rho: float, capped: bool, guard: bool) -> None:
    toy = Toy(seed=seed)
    expected, beta, weight, kappa = by_hand(toy, rho, guard)
    p = toy.leaves()
    problem = Problem(p, lambda: toy.forget(p), lambda: toy.retain(p))
    options = SolveOptions(
        rounds=1,
        inner_steps=STEPS,
        outer_lr=ETA,
        lambda_eff=LAMBDA,
        similarity="cosine",
        beta=BETA,
        rho=rho,
        guard=guard,
        derivatives="exact",
    )
    (seen,) = solve(problem, options)
    assert error(p, expected) < 1e-12
    assert (seen.beta, seen.rho, seen.kappa) == pytest.approx((beta, weight, kappa), rel=1e-9)
    assert seen.guarded == (guard and kappa > 0)
    uncapped = by_hand(toy, 0.01, guard)[2] * rho / 0.01
    assert (weight < 0.99 * uncapped) == capped
