"""T4: the secant (22) of an inner step is ∇²Φ w up to a term in proportion to the step."""

from __future__ import annotations

import math

import torch

from ofmu.core import Penalty, Phi, Problem, Vector, inner, outer
from ofmu.core.curvature import Secant
from reference.dense import Toy, error, gradient, nabla_phi


def test_t4_the_error_of_the_secant_is_in_proportion_to_the_step() -> None:
    toy = Toy(seed=2)
    forget, retain = toy.flat_losses()
    start = toy.theta.clone().requires_grad_()
    w = nabla_phi(forget, retain, "squared_cosine", 0.7, start)
    (true,) = torch.autograd.grad(w @ w / 2, start)  # ∇²Φ w
    phi, errors = Phi(similarity="squared_cosine", beta=0.7), {}
    for rate in (0.02, 0.01, 0.005):
        p = toy.leaves()
        problem = Problem(p, lambda p=p: toy.forget(p), lambda p=p: toy.retain(p))
        before = inner(problem, phi)
        Vector(p).add_(before.gradient, rate)
        found = outer(problem, phi, "exact", Penalty(rho=0.5), secant=Secant(before, rate))
        place = toy.theta + rate * w.detach()
        y = Vector(
            {
                name: x - g
                for (name, x), g in zip(found.gradient.items(), toy.cut(gradient(retain, place)).values(), strict=True)
            }
        )
        errors[rate] = error(y, true)
        by_hand = (nabla_phi(forget, retain, "squared_cosine", 0.7, place.requires_grad_()) - w) / rate
        assert error(y, by_hand) < 1e-9
    assert math.log(errors[0.02] / errors[0.005]) / math.log(4) > 0.9
    assert errors[0.005] < 0.05


def test_a_relative_similarity_that_wakes_during_the_step_is_left_out_of_the_secant() -> None:
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    h, g_r = torch.tensor([1.0, 0.5], dtype=torch.float64), torch.tensor([0.499, -1.0], dtype=torch.float64)
    problem = Problem({"x": x}, lambda: (h * x**2).sum() / 2, lambda: (g_r * x).sum())
    phi, rate = Phi(similarity="squared_hinge", beta=0.5, scale="relative"), 0.1
    before = inner(problem, phi)
    assert not before.active
    Vector({"x": x}).add_(before.gradient, rate)
    assert inner(problem, phi).active
    found = outer(problem, phi, "exact", Penalty(rho=0.5), secant=Secant(before, rate))
    assert torch.allclose(found.gradient["x"] - g_r, h**2, rtol=0, atol=1e-12)  # H_f g_f at (1, 1), not −βD/η
