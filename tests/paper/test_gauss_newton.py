"""Gauss–Newton products: Jᵀ H_out J d for D, with the noise of autocast, and never for y."""

from __future__ import annotations

import math

import pytest
import torch
from test_cheaper import PHI
from torch import Tensor
from torch.autograd.functional import hessian, jacobian
from torch.nn import functional as F

from ofmu.core import (
    FiniteDifference,
    GaussNewton,
    Penalty,
    Phi,
    Problem,
    SolveOptions,
    Vector,
    inner,
    outer,
    solve,
)
from ofmu.core.derivatives import make
from ofmu.core.steps import NOISE
from ofmu.errors import InputError
from reference.dense import Toy, error, flat


class Logits:
    """Cross-entropy of the toy's logits, as a part that shows them."""

    def __init__(self, toy: Toy, p: dict[str, Tensor], rows: slice) -> None:
        self.toy, self.p, self.rows = toy, p, rows

    def outputs(self) -> Tensor:
        p = self.p
        return (self.toy.x[self.rows] @ p["W1"].T + p["b1"]).tanh() @ p["W2"].T + p["b2"]

    def criterion(self, outputs: Tensor) -> Tensor:
        return F.cross_entropy(outputs, self.toy.y[self.rows])

    def __call__(self) -> Tensor:
        return self.criterion(self.outputs())


def test_gauss_newton_products_are_j_h_j_and_their_quadratic_form_has_one_sign() -> None:
    toy = Toy(seed=2)
    p = toy.leaves()
    part = Logits(toy, p, slice(0, 9))

    def logits(theta: Tensor) -> Tensor:
        q = toy.cut(theta)
        return ((toy.x[:9] @ q["W1"].T + q["b1"]).tanh() @ q["W2"].T + q["b2"]).flatten()

    J = jacobian(logits, toy.theta)
    H = hessian(lambda z: F.cross_entropy(z.view(9, 4), toy.y[:9]), logits(toy.theta))
    d = torch.randn(len(toy.theta), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction = Vector({n: x.clone() for n, x in toy.cut(d).items()})
    found = GaussNewton(p).curvature(part, direction)
    assert error(found, J.T @ H @ J @ d) < 1e-8
    assert float(found.dot(direction)) >= 0
    split = [Logits(toy, p, slice(0, 4)), Logits(toy, p, slice(4, 9))]
    weighted = [lambda s=s, n=n: s() * n / 9 for s, n in zip(split, (4, 5), strict=True)]
    with pytest.raises(InputError, match=r"outputs\(\) and criterion"):
        GaussNewton(p).curvature(weighted, direction)


def network(part: Logits) -> Tensor:
    x, p = part.toy.x[part.rows].float(), part.p
    return F.linear(F.linear(x, p["W1"], p["b1"]).tanh(), p["W2"], p["b2"])


class Autocast(Logits):
    """The same under bfloat16 autocast, its parameters in float32."""

    def outputs(self) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return network(self)

    def criterion(self, outputs: Tensor) -> Tensor:
        return F.cross_entropy(outputs.float(), self.toy.y[self.rows])


class Single(Autocast):
    """Without autocast."""

    def outputs(self) -> Tensor:
        return network(self)


def test_gauss_newton_steps_are_as_long_as_the_noise_of_autocast_asks() -> None:
    toy = Toy(seed=2)
    p = {name: x.detach().float().requires_grad_() for name, x in toy.leaves().items()}
    g = torch.Generator().manual_seed(0)
    direction = Vector({name: torch.randn(x.shape, generator=g) for name, x in p.items()})
    rows = slice(0, 9)
    true = flat(make("gauss_newton", p).curvature(Single(toy, p, rows), direction))
    noisy = make("gauss_newton", p, noise=NOISE[torch.bfloat16]).curvature(Autocast(toy, p, rows), direction)
    assert error(noisy, true) < 0.2
    assert error(make("gauss_newton", p).curvature(Autocast(toy, p, rows), direction), true) > 2 * error(noisy, true)
    with pytest.raises(InputError, match="noise is 2, but must be"):
        make("gauss_newton", p, noise=2.0)


class Cancelling:
    """A criterion of outputs that are, but for a tanh, the difference of two parts of size 100."""

    def __init__(self, x: Tensor, factor: Tensor) -> None:
        self.x, self.factor = x, factor.to(x.dtype)

    def outputs(self) -> Tensor:
        A, x = self.factor, self.x
        return 100 * (A @ x).sin() - 100 * ((3 * A) @ (x / 3)).sin() + (A @ x).tanh()

    def criterion(self, outputs: Tensor) -> Tensor:
        return (outputs.exp() - outputs).sum()

    def __call__(self) -> Tensor:
        return self.criterion(self.outputs())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_penalty_beside_gauss_newton_goes_by_the_measured_noise_of_their_gradient(seed: int) -> None:
    """By the noise that float32 has at best, y had an error of 2 to 4."""
    g = torch.Generator().manual_seed(seed)
    factors = [torch.randn(40, 60, generator=g) / 8 for _ in range(2)]
    x = torch.randn(60, generator=g)

    def y(dtype: torch.dtype, central: bool = False, h: float | None = None) -> tuple[Vector, FiniteDifference]:
        p = {"x": x.to(dtype).clone().requires_grad_()}
        forget, retain = (Cancelling(p["x"], factor) for factor in factors)
        fd = FiniteDifference(p, central=central)
        if h is not None:
            fd.set_step("phi", h)
        phi = Phi(beta=0.5, scale="relative")
        penalty = Penalty(rho=0.5, guard=False, derivatives=fd)
        found = outer(Problem(p, forget, retain), phi, GaussNewton(p), penalty).penalty
        assert found is not None
        return found, fd

    true = flat(y(torch.float64, central=True)[0])
    found, fd = y(torch.float32)
    ours, h = error(found, true), fd.steps["phi"]
    assert fd.state_dict()["noise"] > 1e-3
    assert ours < 0.4
    assert ours < 2 * min(error(y(torch.float32, h=h * 2.0**k)[0], true) for k in range(-4, 5))


def test_gauss_newton_gives_d_and_refuses_y() -> None:
    toy = Toy(seed=2)
    p = toy.leaves()
    problem = Problem(p, Logits(toy, p, slice(0, 9)), Logits(toy, p, slice(9, 23)))
    exact = inner(problem, PHI)
    found = inner(problem, PHI, "gauss_newton")
    assert float(found.gradient.dot(exact.gradient) / found.gradient.norm() / exact.gradient.norm()) > 0.9
    with pytest.raises(InputError, match="drop the sign that tells forgetting"):
        outer(problem, PHI, "gauss_newton", Penalty(rho=0.1))
    by_differences = outer(problem, PHI, "gauss_newton", Penalty(rho=0.1, derivatives="finite_difference"))
    assert math.isfinite(float(by_differences.gradient.norm()))
    rounds = list(solve(problem, SolveOptions(rounds=2, derivatives="gauss_newton", rho=0.0, similarity="cosine")))
    assert rounds[-1].gradients == 2 * (5 * 4 + 1)
