"""T4: the secant (22) of an inner step is ∇²Φ w up to a term in proportion to the step."""

from __future__ import annotations

import math

import torch
from dense import Toy, error, gradient, nabla_phi

from ofmu.core import Penalty, Phi, Problem, Vector, inner, outer
from ofmu.core.curvature import Secant


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
