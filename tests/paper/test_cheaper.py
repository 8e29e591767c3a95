"""The cheaper forms of D and y: what each one is, against dense Hessians; and their counts (T5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from test_cost import counted
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from ofmu.core import (
    FiniteDifference,
    Penalty,
    Phi,
    Problem,
    Secant,
    SolveOptions,
    Vector,
    inner,
    outer,
    outer_gradient,
    solve,
)
from ofmu.errors import InputError
from reference.dense import Toy, error, flat, gradient, nabla_phi, naive_similarity

BETA = 0.7
PHI = Phi(beta=BETA)


def problem_of(toy: Toy) -> Problem:
    p = toy.leaves()
    return Problem(p, lambda: toy.forget(p), lambda: toy.retain(p))


def halves(toy: Toy) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """g_f, g_r, H_f p, H_r q of the cosine, dense."""
    forget, retain = toy.flat_losses()
    g_f, g_r = (gradient(f, toy.theta) for f in (forget, retain))
    pair = [g_f.clone().requires_grad_(), g_r.clone().requires_grad_()]
    p, q = torch.autograd.grad(naive_similarity("cosine", *pair), pair)
    return g_f, g_r, hessian(forget, toy.theta) @ p, hessian(retain, toy.theta) @ q


def hessian_of_phi(toy: Toy, theta: Tensor) -> Tensor:
    """∇²Φ, dense: the Jacobian of the naive ∇Φ."""
    forget, retain = toy.flat_losses()
    return jacobian(lambda t: nabla_phi(forget, retain, "cosine", BETA, t), theta.detach())


def moved(problem: Problem, toy: Toy, to: Tensor) -> None:
    with torch.no_grad():
        for name, x in toy.cut(to).items():
            problem.parameters[name].copy_(x)


# C3: exact D, forward y


def test_c3_exact_inner_and_forward_outer_is_the_penalty_to_first_order() -> None:
    toy = Toy(seed=2)
    found = outer(problem_of(toy), PHI, "exact", Penalty(rho=0.5, derivatives="finite_difference"))
    assert found.penalty is not None
    assert found.inner is not None
    true = hessian_of_phi(toy, toy.theta) @ flat(found.inner.gradient)
    assert error(found.penalty, true) < 1e-6  # noise of the nested quotient is gone: 2e-3 with forward D


# C4: the secant (22), (23)


def last_step(toy: Toy, eta: float, preconditioner: Tensor | None = None) -> tuple[Problem, Tensor, Secant]:
    """A problem after one inner step θ + ηPw; w before it."""
    problem = problem_of(toy)
    before = inner(problem, PHI)
    w = flat(before.gradient)
    moved(problem, toy, toy.theta + eta * (w if preconditioner is None else preconditioner * w))
    return problem, w, Secant(before, eta)


def test_t4_the_secant_tends_to_the_curvature_with_the_inner_step() -> None:
    toy, errors = Toy(seed=2), []
    for eta in (0.04, 0.02, 0.01):
        problem, w, secant = last_step(toy, eta)
        found = outer(problem, PHI, "exact", Penalty(rho=0.5), secant=secant)
        assert found.penalty is not None
        errors.append(error(found.penalty, hessian_of_phi(toy, toy.theta) @ w))
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


def test_t4_the_secant_is_the_nested_forward_quotient_with_the_inner_step_as_its_step() -> None:
    toy, eta = Toy(seed=2), 0.01
    problem, w, secant = last_step(toy, eta)
    found = outer(problem, PHI, "exact", Penalty(rho=0.5), secant=secant)
    fixed = problem_of(toy)
    fd = FiniteDifference(fixed.parameters)
    fd.set_step("phi", eta * float(w.norm()))
    nested = outer(fixed, PHI, "exact", Penalty(rho=0.5, derivatives=fd))
    assert found.penalty is not None
    assert nested.penalty is not None
    assert error(found.penalty, flat(nested.penalty)) < 1e-10


def test_a_preconditioned_secant_is_the_gradient_of_the_penalty_in_that_norm() -> None:
    toy, eta = Toy(seed=2), 1e-6
    P = torch.rand(len(toy.theta), generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    problem, w, secant = last_step(toy, eta, P)
    found = outer(problem, PHI, "exact", Penalty(rho=1.0), secant=secant)
    assert found.penalty is not None
    forget, retain = toy.flat_losses()

    def penalty(theta: Tensor) -> Tensor:
        w = nabla_phi(forget, retain, "cosine", BETA, theta)
        return (w * P * w).sum()

    assert error(found.penalty, gradient(penalty, toy.theta)) < 1e-4
    assert error(found.penalty, 2 * hessian_of_phi(toy, toy.theta) @ w) > 0.1  # not that of ‖∇Φ‖²


def test_a_run_with_the_secant_follows_the_run_with_products_the_closer_the_smaller_its_steps() -> None:
    def end(derivatives: str, lr: float) -> Tensor:
        problem = problem_of(Toy(seed=2))
        options = SolveOptions(rounds=round(0.2 / lr), outer_lr=lr, similarity="cosine", derivatives=derivatives)
        assert list(solve(problem, options))
        return flat(dict(problem.parameters))

    gaps = [float((end("secant", lr) - end("central", lr)).norm()) for lr in (0.1, 0.05, 0.025)]
    travelled = float((end("central", 0.025) - Toy(seed=2).theta).norm())
    assert gaps[0] / gaps[2] > 3  # of first order
    assert gaps[2] < 0.02 * travelled


@pytest.mark.parametrize("central", [False, True])
def test_with_the_secant_the_inner_differences_go_by_measured_noise_too(central: bool) -> None:
    problem = problem_of(Toy(seed=2))
    fd = FiniteDifference(problem.parameters, central=central, secant=True)
    assert not fd.state_dict()["measured"]
    next(solve(problem, SolveOptions(rounds=1, outer_lr=0.05, similarity="cosine", derivatives=fd)))
    assert fd.state_dict()["measured"]
    assert set(fd.steps) == {"forget", "retain"}


# C5: D held


def test_c5_a_held_similarity_term_is_that_of_the_earlier_step() -> None:
    toy = Toy(seed=2)
    problem = problem_of(toy)
    before = inner(problem, PHI)
    there = toy.theta + 0.05 * flat(before.gradient)
    moved(problem, toy, there)
    found = inner(problem, PHI, held=before)
    _, _, one, other = halves(toy)
    g_f = gradient(toy.flat_losses()[0], there)
    assert error(found.gradient, g_f - BETA * (one + other)) < 1e-12
    assert found.a == pytest.approx(float(g_f.norm()))
    assert found.curvature == pytest.approx(BETA * float((one + other).norm()) / found.a)
    inactive = replace(before, active=False)
    assert error(inner(problem, PHI, held=inactive).gradient, g_f) < 1e-12


# C6: no H_r q; a retain gradient from elsewhere


def test_c6_leaves_out_the_second_half_of_d() -> None:
    toy = Toy(seed=2)
    g_f, g_r, one, _ = halves(toy)
    problem = problem_of(toy)
    assert error(inner(problem, replace(PHI, retain_curvature=False)).gradient, g_f - BETA * one) < 1e-12
    given = Vector({n: x.clone() for n, x in toy.cut(g_r).items()})
    assert error(inner(problem, PHI, retain=given).gradient, g_f - BETA * one) < 1e-12


def test_against_a_given_retain_gradient_the_penalty_is_that_of_a_constant_direction() -> None:
    toy = Toy(seed=2)
    forget, retain = toy.flat_losses()
    v = torch.randn(len(toy.theta), generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def w(theta: Tensor) -> Tensor:
        (g_f,) = torch.autograd.grad(forget(theta), theta, create_graph=True)
        return torch.autograd.grad(forget(theta) - BETA * naive_similarity("cosine", g_f, v), theta, create_graph=True)[
            0
        ]

    def objective(theta: Tensor) -> Tensor:
        return retain(theta) + 0.4 * w(theta) @ w(theta)

    given = Vector({n: x.clone() for n, x in toy.cut(v).items()})
    for derivatives, bound in (("exact", 1e-12), ("central", 1e-6)):
        found = outer(problem_of(toy), PHI, derivatives, Penalty(rho=0.4), retain=given)
        assert error(found.gradient, gradient(objective, toy.theta)) < bound


# curvature on part of the batch


def test_curvature_of_part_of_the_batch_is_that_of_the_part_along_directions_of_the_whole() -> None:
    toy = Toy(seed=2)
    p = toy.leaves()
    part = Problem(p, lambda: toy.loss(p, slice(0, 4)), lambda: toy.loss(p, slice(9, 14)))
    problem = Problem(p, lambda: toy.forget(p), lambda: toy.retain(p), part=part)
    g_f, g_r, _, _ = halves(toy)
    pair = [g_f.clone().requires_grad_(), g_r.clone().requires_grad_()]
    directions = torch.autograd.grad(naive_similarity("cosine", *pair), pair)
    one, other = (
        hessian(lambda t, rows=rows: toy.loss(toy.cut(t), rows), toy.theta) for rows in (slice(0, 4), slice(9, 14))
    )
    true = g_f - BETA * (one @ directions[0] + other @ directions[1])
    for derivatives, bound in (("exact", 1e-12), ("finite_difference", 1e-6)):
        assert error(inner(problem, PHI, derivatives).gradient, true) < bound

    found = outer(problem, PHI, "exact", Penalty(rho=0.5))
    assert found.penalty is not None
    forget, retain = (lambda t, rows=rows: toy.loss(toy.cut(t), rows) for rows in (slice(0, 4), slice(9, 14)))
    curved = jacobian(lambda t: nabla_phi(forget, retain, "cosine", BETA, t), toy.theta)
    assert error(found.penalty, curved @ true) < 1e-11


# (39): two pairs of batches


def test_the_penalty_of_two_batches_is_half_the_gradient_of_their_product() -> None:
    one, other = Toy(seed=2), Toy(seed=2)
    other.x = torch.randn(23, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    p = one.leaves()
    problems = [Problem(p, lambda t=t: t.forget(p), lambda t=t: t.retain(p)) for t in (one, other)]

    def product(theta: Tensor) -> Tensor:
        w = [nabla_phi(*t.flat_losses(), "cosine", BETA, theta) for t in (one, other)]
        return w[0] @ w[1]

    mean = (gradient(one.flat_losses()[1], one.theta) + gradient(other.flat_losses()[1], one.theta)) / 2
    true = mean + 0.4 * gradient(product, one.theta)
    for derivatives, bound in (("exact", 1e-12), ("central", 1e-6)):
        assert error(outer(problems[0], PHI, derivatives, Penalty(rho=0.4), second=problems[1]).gradient, true) < bound
    same = outer(problems[0], PHI, "exact", Penalty(rho=0.4), second=problems[0])
    assert error(same.gradient, flat(outer(problems[0], PHI, "exact", Penalty(rho=0.4)).gradient)) < 1e-12


def test_w11_on_average_one_batch_overstates_the_penalty_and_two_do_not() -> None:
    """Batches L_f(θ + ξ) with ξ from five vectors; the average over all of them, or all ordered pairs, is exact."""
    g = torch.Generator().manual_seed(0)
    A = torch.randn(6, 6, generator=g, dtype=torch.float64)
    shifts = torch.randn(5, 6, generator=g, dtype=torch.float64)
    p = {"x": torch.ones(6, dtype=torch.float64, requires_grad=True)}

    def value(z: Tensor) -> Tensor:
        return z @ A @ A.T @ z / 2 + z.pow(3).sum()

    batches = [Problem(p, lambda xi=xi: value(p["x"] + xi), lambda: 0 * p["x"].sum()) for xi in shifts]
    phi, penalty = Phi(beta=0.0), Penalty(rho=0.5)

    def mean(pairs: list[tuple[Problem, Problem | None]]) -> Tensor:
        found = [outer(one, phi, "exact", penalty, second=other).penalty for one, other in pairs]
        return torch.stack([x["x"] for x in found if x is not None]).mean(0)

    x = torch.ones(6, dtype=torch.float64)
    true = torch.stack([hessian(value, x + xi) for xi in shifts]).mean(0) @ torch.stack(
        [gradient(value, x + xi) for xi in shifts]
    ).mean(0)
    assert error(mean([(one, other) for one in batches for other in batches]), true) < 1e-12
    assert error(mean([(one, None) for one in batches]), true) > 0.1


def test_a_secant_is_asked_for_where_it_is_missing_and_refused_where_it_cannot_be() -> None:
    problem = problem_of(Toy(seed=2))
    with pytest.raises(InputError, match="from an inner step on the same batch"):
        outer_gradient(problem, beta=0.5, rho=0.1, derivatives="secant")
    with pytest.raises(InputError, match="rate is 0, but must be > 0"):
        Secant(inner(problem, PHI), 0.0)
    with pytest.raises(InputError, match="along the last inner step only"):
        SolveOptions(derivatives="secant", outer_steps=2)
    with pytest.raises(InputError, match="leave out the second pair"):
        outer(problem, PHI, "secant", Penalty(rho=0.1), secant=Secant(inner(problem, PHI), 0.1), second=problem)


# T5, the counts


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda p, fd, at: inner(p, replace(PHI, retain_curvature=False), fd), (2, 1)),
        (lambda p, fd, at: inner(p, PHI, fd, retain=at.g_r), (2, 0)),
        (lambda p, fd, at: inner(p, PHI, fd, held=at), (1, 0)),
        (lambda p, fd, at: outer(p, replace(PHI, retain_curvature=False), fd, Penalty(rho=0.1)), (4, 2)),
        (lambda p, fd, at: outer(p, PHI, fd, Penalty(rho=0.1), retain=at.g_r), (4, 1)),
        (lambda p, fd, at: outer(p, PHI, fd, Penalty(rho=0.1), secant=Secant(at, 0.1)), (2, 2)),
        (lambda p, fd, at: outer(p, PHI, fd, Penalty(rho=0.1), second=p), (8, 8)),
        (lambda p, fd, at: outer(p, PHI, "exact", Penalty(rho=0.1, derivatives=fd)), (2, 2)),
    ],
    ids=["C6 inner", "given inner", "C5 held", "C6 outer", "given outer", "C4 outer", "two batches", "C3 outer"],
)
def test_t5_counts_of_the_cheaper_forms(work: Callable[..., object], expected: tuple[int, int]) -> None:
    problem, spent = counted()
    fd = FiniteDifference(problem.parameters)
    at = inner(problem, PHI, fd)
    work(problem, fd, at)  # the first products look for their steps
    spent()
    work(problem, fd, at)
    assert spent() == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 5 * 4 + 8),
        ({"derivatives": "central"}, 5 * 6 + 18),
        ({"derivatives": "secant"}, 5 * 4 + 4),
        ({"refresh_every": 5}, 4 + 4 * 1 + 8),
        ({"derivatives": "secant", "refresh_every": 4}, 4 + 3 * 1 + 4 + 4),
        ({"retain_curvature": False}, 5 * 3 + 6),
    ],
    ids=["C2", "C1", "C4", "C5", "C4 and C5", "C6"],
)
def test_t5_gradients_of_a_round(options: dict[str, object], expected: int) -> None:
    problem, spent = counted()
    settings = SolveOptions(rounds=3, inner_steps=5, similarity="cosine", outer_lr=0.02, **options)  # type: ignore[arg-type]
    rounds = list(solve(problem, settings))
    assert rounds[-1].gradients == sum(spent())
    assert rounds[2].gradients - rounds[1].gradients == expected
