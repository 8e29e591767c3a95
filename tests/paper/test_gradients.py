"""T1, T2, T18: the closed forms (7)–(10) against naive autograd and dense Hessians; what happens where g_f vanishes."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.functional import hessian

from ofmu.core import FiniteDifference, Penalty, Phi, Problem, Vector, inner, inner_gradient, outer, outer_gradient
from ofmu.core.similarity import SIMILARITIES, make
from reference.dense import Toy, error, gradient, nabla_phi, naive_similarity, objective

NAMES = sorted(SIMILARITIES)


def problem_of(toy: Toy) -> Problem:
    p = toy.leaves()
    return Problem(p, lambda: toy.forget(p), lambda: toy.retain(p))


@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("name", NAMES)
def test_t1_partials_of_the_similarity(name: str, eps: float) -> None:
    g_f, g_r = (torch.randn(12, dtype=torch.float64, requires_grad=True) for _ in range(2))
    with torch.no_grad():
        g_r += 0.5 * g_f  # a conflict, so that the hinge is active
    s = naive_similarity(name, g_f, g_r, eps)
    true = torch.autograd.grad(s, [g_f, g_r])
    split = [Vector(a=g.detach()[:5], b=g.detach()[5:]) for g in (g_f, g_r)]
    assert torch.allclose(make(name).value(*split, epsilon=eps), s, rtol=1e-14)
    for found, expected in zip(make(name).partials(*split, epsilon=eps), true, strict=True):
        assert error(found, expected) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_t1_inner_gradient_is_g_f_minus_beta_d_of_dense_hessians(name: str) -> None:
    toy = Toy(seed=2)
    forget, retain = toy.flat_losses()
    g_f, g_r = (gradient(f, toy.theta) for f in (forget, retain))
    assert float(g_f @ g_r) > 0
    pair = [g_f.clone().requires_grad_(), g_r.clone().requires_grad_()]
    p, q = torch.autograd.grad(naive_similarity(name, *pair), pair)
    true = g_f - 0.7 * (hessian(forget, toy.theta) @ p + hessian(retain, toy.theta) @ q)
    problem = problem_of(toy)
    assert error(inner_gradient(problem, similarity=name, beta=0.7), true) < 1e-12
    assert error(nabla_phi(forget, retain, name, 0.7, toy.theta.requires_grad_()), true) < 1e-12
    for central, bound in ((False, 1e-6), (True, 1e-9)):
        fd = FiniteDifference(problem.parameters, central=central)
        assert error(inner_gradient(problem, similarity=name, beta=0.7, derivatives=fd), true) < bound


@pytest.mark.parametrize("name", NAMES)
def test_t2_outer_gradient_is_the_derivative_of_f(name: str) -> None:
    toy = Toy(seed=2)
    forget, retain = toy.flat_losses()

    def F(theta: torch.Tensor) -> torch.Tensor:
        return objective(forget, retain, name, 0.7, 0.4, theta)

    true = gradient(F, toy.theta)
    problem = problem_of(toy)
    found = outer_gradient(problem, similarity=name, beta=0.7, rho=0.4)
    assert error(found, true) < 1e-12  # triple backward
    for central, bound in ((False, 2e-3), (True, 1e-6)):
        fd = FiniteDifference(problem.parameters, central=central)
        assert error(outer_gradient(problem, similarity=name, beta=0.7, rho=0.4, derivatives=fd), true) < bound
    for _ in range(3):
        e = torch.randn_like(toy.theta)
        h = 1e-5
        ahead, behind = (float(F((toy.theta + s * h * e).requires_grad_()).detach()) for s in (1, -1))
        assert (ahead - behind) / (2 * h) == pytest.approx(float(true @ e), rel=1e-6, abs=1e-8)


def test_t18_a_vanishing_forget_gradient_explodes_without_epsilon_and_not_with_it() -> None:
    curved = torch.tensor([[1.0, 0.5, 0.2], [0.5, 2.0, 0.3], [0.2, 0.3, 1.5]], dtype=torch.float64)

    def norm_D(a: float, reference_scale: float | None) -> float:
        x = torch.tensor([a, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
        problem = Problem({"x": x}, lambda: x @ curved @ x / 2, lambda: x.sum() + x.square().sum())
        at = inner(problem, Phi(beta=1.0, reference_scale=reference_scale))
        return at.curvature * at.a

    wild, tame = ([norm_D(a, scale) for a in (1e-1, 1e-7)] for scale in (None, 1.0))
    assert wild[1] / wild[0] > 1e3
    assert max(tame) < 27  # ‖H_f‖/ε + ‖H_r‖/b


def test_where_a_gradient_is_zero_there_is_no_angle_and_the_result_is_the_limit() -> None:
    p = {"x": torch.zeros(3, dtype=torch.float64, requires_grad=True)}
    problem = Problem(p, lambda: p["x"].square().sum(), lambda: p["x"].sum())
    at = inner(problem, Phi(beta=1.0))
    assert (at.a, at.c, at.active, at.curvature) == (0.0, 0.0, False, 0.0)
    assert at.gradient["x"].tolist() == [0, 0, 0]
    found = outer(problem, Phi(beta=1.0), "exact", Penalty(rho=1.0))
    assert found.kappa is None
    assert found.gradient["x"].tolist() == [1, 1, 1]


def test_relative_scales_fix_the_sizes_of_the_terms_and_raw_ones_may_be_capped() -> None:
    problem = problem_of(Toy(seed=2))
    at = inner(problem, Phi(beta=0.3, scale="relative"))
    assert at.curvature == pytest.approx(0.3)
    assert float((at.gradient - at.g_f).norm()) == pytest.approx(0.3 * at.a)
    held = inner(problem, Phi(beta=at.beta))
    assert float((held.gradient - at.gradient).norm()) < 1e-14
    assert inner(problem, Phi(beta=7.0, scale="relative")).curvature == pytest.approx(1)
    assert inner(problem, Phi(beta=1e4, trust=1.0)).curvature == pytest.approx(1)

    found = outer(problem, Phi(beta=0.3, scale="relative"), "exact", Penalty(rho=0.5, scale="relative"))
    assert found.penalty is not None
    assert found.inner is not None
    assert float(found.penalty.norm()) == pytest.approx(0.5 * found.inner.b)
    capped = Penalty(rho=0.5, scale="relative", cap=lambda kappa: 1e-3)
    assert outer(problem, Phi(beta=0.3, scale="relative"), "exact", capped).rho == 1e-3
    capped = outer(problem, Phi(beta=0.3), "exact", Penalty(rho=1e6, outer_lr=0.1))
    assert capped.rho == pytest.approx(1 / (2 * 0.1 * capped.curvature**2))  # (31)
