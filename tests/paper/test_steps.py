"""T3: the step rule (20) finds errors near the best of a sweep, in both dtypes, and the self-check (21) fires."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofmu.core import FiniteDifference, Penalty, Phi, Problem, Vector, inner, outer
from ofmu.core.similarity import make
from ofmu.errors import RunError


class Transformer(nn.Module):
    """Two blocks of attention and gelu over layer norms, width 32, 40 words: 28 thousand parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(40, 32), nn.Embedding(16, 32)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(5))
        self.mix = nn.ModuleList(nn.Linear(32, 96) for _ in range(2))
        self.up = nn.ModuleList(nn.Linear(32, 128) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(128, 32) for _ in range(2))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places.weight[: ids.shape[1]]
        for i in range(2):
            q, k, v = self.mix[i](self.norms[2 * i](x)).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
            x = x + F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
            x = x + self.down[i](F.gelu(self.up[i](self.norms[2 * i + 1](x))))
        return self.norms[4](x) @ self.words.weight.T / 6


def problem_of(model: nn.Module) -> Problem:
    g = torch.Generator().manual_seed(3)
    forget, retain = torch.randint(40, (5, 17), generator=g), torch.randint(40, (9, 17), generator=g)

    def loss(ids: Tensor) -> Tensor:
        return F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    return Problem.of(model, lambda: loss(forget), lambda: loss(retain))


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def pair(request: pytest.FixtureRequest) -> tuple[Problem, Problem]:
    """The same (rounded) parameters in the dtype under test and, as referee, in float64."""
    torch.manual_seed(1)
    model, referee = Transformer().to(request.param), Transformer()
    referee.load_state_dict(model.state_dict())
    return problem_of(model), problem_of(referee.double())


def wide(vector: Mapping[str, Tensor]) -> Vector:
    return Vector({n: x.detach().double() for n, x in vector.items()})


def error(found: Vector, true: Vector) -> float:
    return float((wide(found) - true).norm() / true.norm())


@pytest.mark.parametrize("central", [False, True], ids=["forward", "central"])
def test_t3_the_rule_is_within_five_times_of_the_best_step(pair: tuple[Problem, Problem], central: bool) -> None:
    problem, referee = pair
    names, leaves = list(referee.parameters), list(referee.parameters.values())
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert callable(referee.forget)
        g = torch.autograd.grad(referee.forget(), leaves, create_graph=True)
        direction = [x.detach().sign() * x.detach().abs().sqrt() for x in g]
        true = Vector(zip(names, torch.autograd.grad(g, leaves, direction), strict=True))
    d = Vector({n: x.to(p.dtype) for (n, p), x in zip(problem.parameters.items(), direction, strict=True)})

    fd = FiniteDifference(problem.parameters, central=central)

    def gradient() -> Vector:
        return fd.gradient(problem.forget)

    at = gradient()
    ours = error(fd.product(gradient, d, at=at, key="rule"), true)
    assert fd.discrepancy(gradient, d, at=at, key="rule") < 1e-2
    size = float(wide(problem.parameters).norm())
    sweep = {}
    for exponent in range(-10 if at["words.weight"].dtype == torch.float32 else -18, 0):
        fd.set_step("sweep", size * 10 ** (exponent / 2))
        sweep[exponent] = error(fd.product(gradient, d, at=at, key="sweep"), true)
    assert ours <= 5 * min(sweep.values())

    fd.set_step("sweep", size * 10**-0.5)  # far out of the quadratic region
    assert fd.discrepancy(gradient, d, at=at, key="sweep") > 1e-2
    fd.set_step("sweep", size * (1e-9 if at["words.weight"].dtype == torch.float32 else 1e-17))  # lost in rounding
    with pytest.raises(RunError, match="lost in the rounding"):
        fd.product(gradient, d, at=at, key="sweep")


def test_nabla_phi_and_the_penalty_by_differences(pair: tuple[Problem, Problem]) -> None:
    """Float32: ∇Φ to 1e-3 by forward differences with automatic steps; y as well as nested noise allows."""
    problem, referee = pair
    exact = outer(
        referee,
        Phi(beta=0.5, similarity="squared_cosine", scale="relative"),
        "exact",
        Penalty(rho=0.5, scale="relative"),
    )
    assert exact.inner is not None
    assert exact.penalty is not None
    single = next(iter(problem.parameters.values())).dtype == torch.float32
    coarse, fine = ((False, 1e-3, 1e-1), (True, 3e-4, 1e-2)), ((False, 1e-6, 3e-3), (True, 3e-9, 3e-6))
    for central, up, down in coarse if single else fine:
        fd = FiniteDifference(problem.parameters, central=central)
        at = inner(problem, Phi(beta=exact.inner.beta, similarity="squared_cosine"), fd)
        assert error(at.gradient, exact.inner.gradient) < up
        found = outer(
            problem, Phi(beta=exact.inner.beta, similarity=make("squared_cosine")), fd, Penalty(rho=exact.rho)
        )
        assert found.penalty is not None
        assert error(found.penalty, exact.penalty) < down


@pytest.mark.parametrize("central", [False, True], ids=["forward", "central"])
def test_t3_the_steps_of_a_quotient_of_quotients_are_near_the_best_pair(
    pair: tuple[Problem, Problem], central: bool
) -> None:
    """(61): within five times of the smallest error over pairs of steps, inside and outside."""
    problem, referee = pair
    penalty, phi = Penalty(rho=0.5), Phi(beta=0.5, similarity="squared_cosine", scale="relative")
    exact = outer(referee, phi, "exact", penalty)
    assert exact.inner is not None
    assert exact.penalty is not None
    raw = Phi(beta=exact.inner.beta, similarity="squared_cosine")

    def y(fd: FiniteDifference) -> float:
        found = outer(problem, raw, fd, penalty).penalty
        assert found is not None
        assert exact.penalty is not None
        return error(found, exact.penalty)

    fd = FiniteDifference(problem.parameters, central=central)
    ours, automatic = y(fd), fd.steps
    sweep = []
    for within in range(-2, 3):
        for outside in range(-2, 3):
            fd = FiniteDifference(problem.parameters, central=central)
            for key, h in automatic.items():
                fd.set_step(key, h * 4.0 ** (outside if key == "phi" else within))
            sweep.append(y(fd))
    assert ours <= 5 * min(sweep)


def test_the_noise_of_a_gradient_is_measured() -> None:
    """Two large parts that cancel leave their rounding: ε_g is 300 times what float32 has at best."""
    g = torch.Generator().manual_seed(5)
    A, x = torch.randn(40, 300, generator=g), torch.randn(300, generator=g)

    def gradient(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        one, other = A.to(x.dtype) @ x, (2 * A.to(x.dtype)) @ (x / 2)
        loss = (3e3 * one.tanh()).sum() - (3e3 * (other * (1 + 3e-4)).tanh()).sum()
        return torch.autograd.grad(loss, x)[0]

    true = gradient(x.double())
    noise = float((gradient(x).double() - true).norm() / true.norm())
    p = {"x": x.clone().requires_grad_()}
    fd = FiniteDifference(p)
    fd.product(lambda: Vector(x=gradient(p["x"])), Vector(x=torch.ones(300)), key="H")
    assert noise > 1e-5
    assert noise / 3 < fd.state_dict()["noise"] < 3 * noise


def test_a_penalty_of_another_back_end_goes_by_the_noise_that_the_inner_differences_measured() -> None:
    """Both losses are the difference of two large parts: by the noise that float32 has at best, y is mostly noise."""
    g = torch.Generator().manual_seed(5)
    factors = [torch.randn(40, 60, generator=g) / 8 for _ in range(2)]
    x = torch.randn(60, generator=g)

    def problem(dtype: torch.dtype) -> Problem:
        p = {"x": x.detach().clone().to(dtype).requires_grad_()}

        def loss(A: Tensor) -> Tensor:
            A = A.to(dtype)
            return (1e5 * (A @ p["x"]).sin() - 1e5 * ((3 * A) @ (p["x"] / 3) * (1 + 1e-3)).sin()).sum()

        return Problem(p, lambda: loss(factors[0]), lambda: loss(factors[1]))

    phi, rough = Phi(beta=0.5, scale="relative"), problem(torch.float32)
    true = outer(problem(torch.float64), phi, "exact", Penalty(rho=0.5)).penalty
    assert true is not None

    def y(fd: FiniteDifference) -> float:
        central = FiniteDifference(rough.parameters, central=True)
        found = outer(rough, phi, central, Penalty(rho=0.5, derivatives=fd)).penalty
        assert found is not None
        assert true is not None
        return error(found, true)

    fd = FiniteDifference(rough.parameters)
    ours, h = y(fd), fd.steps["phi"]
    sweep = []
    for exponent in range(-4, 5):
        fixed = FiniteDifference(rough.parameters)
        fixed.set_step("phi", h * 2.0**exponent)
        sweep.append(y(fixed))
    assert ours <= 2.5 * min(sweep)
