"""The back-ends: nothing is left changed, the same draws at every evaluation, symmetry, memory, clear refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ofmu.core import Derivatives, Exact, FiniteDifference, Penalty, Phi, Problem, Vector, inner, outer
from ofmu.core.derivatives import make
from ofmu.errors import InputError, RunError

BACKENDS = {
    "exact": Exact,
    "forward": FiniteDifference,
    "central": lambda parameters, buffers: FiniteDifference(parameters, buffers, central=True),
}


class Restless(nn.Module):
    """Dropout draws and batch statistics that move: all that a careless evaluation would leave behind."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.dropout(self.norm(self.first(x)).tanh(), 0.4))


def restless() -> tuple[Restless, Problem, Callable[[], None]]:
    """A model in training mode, its problem, and a check that everything is bit for bit as it was."""
    torch.manual_seed(0)
    model = Restless().double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(3, (20,))
    loss = nn.functional.cross_entropy
    problem = Problem.of(model, lambda: loss(model(x[:8]), y[:8]), lambda: loss(model(x[8:]), y[8:]))
    for p in list(model.parameters())[:3]:
        p.grad = torch.randn_like(p)
    state = {n: t.clone() for n, t in model.state_dict().items()}
    grads = [(p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    generator = torch.get_rng_state()

    def unchanged() -> None:
        assert all(torch.equal(state[n], t) for n, t in model.state_dict().items())
        assert torch.equal(generator, torch.get_rng_state())
        for p, (tensor, values) in zip(model.parameters(), grads, strict=True):
            assert p.grad is tensor
            assert values is None or torch.equal(values, tensor)

    return model, problem, unchanged


@pytest.mark.parametrize("name", BACKENDS)
def test_nothing_is_left_changed(name: str) -> None:
    _, problem, unchanged = restless()
    derivatives = BACKENDS[name](problem.parameters, problem.buffers)
    found = outer(problem, Phi(beta=0.3), derivatives, Penalty(rho=0.2))
    unchanged()
    again = outer(problem, Phi(beta=0.3), BACKENDS[name](problem.parameters, problem.buffers), Penalty(rho=0.2))
    assert all(torch.equal(found.gradient[n], again.gradient[n]) for n in found.gradient)  # the same draws
    assert found.gradient["unused"].tolist() == [0, 0]
    assert not any(x.requires_grad for x in found.gradient.values())


@pytest.mark.parametrize("name", ["forward", "central"])
@pytest.mark.parametrize("fatal", [1, 2, 4, 6])
def test_an_exception_leaves_nothing_changed(name: str, fatal: int) -> None:
    model, problem, unchanged = restless()
    calls = 0

    def interrupted() -> Tensor:
        nonlocal calls
        calls += 1
        value = problem.forget()  # type: ignore[operator]
        if calls == fatal:
            raise KeyboardInterrupt
        return value

    broken = Problem(problem.parameters, interrupted, problem.retain, problem.buffers)
    with pytest.raises(KeyboardInterrupt):
        outer(broken, Phi(beta=0.3), BACKENDS[name](problem.parameters, problem.buffers), Penalty(rho=0.2))
    unchanged()
    assert model.training


def test_every_evaluation_of_a_quotient_sees_the_same_draws() -> None:
    """Otherwise the other dropout mask would be divided by h: the two back-ends could not agree."""
    _, problem, _ = restless()
    exact = outer(problem, Phi(beta=0.3), "exact", Penalty(rho=0.2))
    central = outer(problem, Phi(beta=0.3), BACKENDS["central"](problem.parameters, problem.buffers), Penalty(rho=0.2))
    assert float((exact.gradient - central.gradient).norm() / exact.gradient.norm()) < 1e-6
    torch.rand(1)
    assert (
        float((outer(problem, Phi(beta=0.3), "exact", Penalty(rho=0.2)).gradient - exact.gradient).norm()) > 1e-2
    )  # other draws matter


def test_a_sum_of_parts_is_one_loss() -> None:
    p = {"x": torch.randn(5, dtype=torch.float64, requires_grad=True)}
    whole = Problem(p, lambda: p["x"].sin().sum(), lambda: p["x"].exp().sum())
    split = Problem(p, [lambda: p["x"][:2].sin().sum(), lambda: p["x"][2:].sin().sum()], [lambda: p["x"].exp().sum()])
    for name in BACKENDS:
        found = [outer(q, Phi(beta=0.3), BACKENDS[name](p, None), Penalty(rho=0.2)).gradient for q in (whole, split)]
        assert float((found[0] - found[1]).norm()) < 1e-6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["exact", "central"]), st.floats(1e-6, 1e6))
def test_hessians_are_symmetric_and_products_are_linear_in_length(seed: int, name: str, length: float) -> None:
    torch.manual_seed(seed)
    p = {"a": torch.randn(3, 4, dtype=torch.float64, requires_grad=True)}
    p["b"] = torch.randn(4, dtype=torch.float64, requires_grad=True)
    derivatives: Derivatives = BACKENDS[name](p, None)

    def field() -> Vector:
        return derivatives.gradient(lambda: (p["a"] @ p["b"].tanh()).cos().sum() + (p["b"] ** 4).sum() / 9)

    u, v = (Vector({n: torch.randn_like(x.detach()) for n, x in p.items()}) for _ in range(2))
    Hu, Hv = derivatives.product(field, length * u), derivatives.product(field, v)
    scale = float(Hu.norm() * v.norm()) + length * float(Hv.norm() * u.norm())
    assert abs(float(Hu.dot(v)) - length * float(Hv.dot(u))) < 1e-7 * scale


def test_remembered_steps_make_a_resumed_run_the_same_bytes() -> None:
    _, problem, _ = restless()

    def run(derivatives: Derivatives, restart: bool) -> Vector:
        model, problem, _ = restless()
        derivatives = FiniteDifference(problem.parameters, problem.buffers)
        for _ in range(3):
            if restart:
                state = derivatives.state_dict()
                derivatives = FiniteDifference(problem.parameters, problem.buffers)
                derivatives.load_state_dict(state)
            at = outer(problem, Phi(beta=0.3), derivatives, Penalty(rho=0.2))
            Vector(dict(model.named_parameters())).add_(at.gradient, -0.1)
        return Vector(problem.parameters).clone()

    one, other = (run(FiniteDifference(problem.parameters), restart) for restart in (False, True))
    assert all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize(
    "norm",
    [
        nn.LayerNorm(6),
        nn.BatchNorm1d(6, track_running_stats=False),
        nn.InstanceNorm1d(6),
        nn.GroupNorm(2, 6),
        nn.RMSNorm(6),
        nn.GELU(),
        nn.SiLU(),
        nn.Softmax(-1),
        nn.Softplus(),
    ],
    ids=lambda norm: norm.__class__.__name__,
)
def test_third_derivatives_of_layers_are_right(norm: nn.Module) -> None:
    """torch's fused layer, batch and instance norm get them silently wrong; differences of second ones do not."""
    torch.manual_seed(0)
    x = torch.randn(5, 4, 6, dtype=torch.float64)
    layer, norm = nn.Linear(6, 6).double(), norm.double()

    def loss(rows: slice) -> Tensor:
        h = layer(x[rows])
        by_channel = isinstance(norm, (nn.BatchNorm1d, nn.InstanceNorm1d, nn.GroupNorm))
        h = norm(h.transpose(1, 2).contiguous() if by_channel else h)
        return (h.sin() * torch.linspace(1, 2, h.numel(), dtype=torch.float64).view_as(h)).sum()

    problem = Problem.of(layer, lambda: loss(slice(0, 2)), lambda: loss(slice(2, 5)))
    exact = Exact(problem.parameters)

    def nabla_phi() -> Vector:
        return inner(problem, Phi(beta=5.0, similarity="squared_cosine"), Exact(problem.parameters)).gradient

    w = nabla_phi()
    referee = FiniteDifference(problem.parameters, central=True).product(nabla_phi, w)
    found = outer(problem, Phi(beta=5.0, similarity="squared_cosine"), exact, Penalty(rho=0.5))
    assert found.penalty is not None
    assert float((found.penalty - referee).norm() / referee.norm()) < 1e-6


def test_attention_is_switched_to_a_kernel_that_can_be_differentiated_twice() -> None:
    torch.manual_seed(0)
    mix = nn.Linear(8, 24)
    x = torch.randn(2, 5, 8)

    def loss() -> Tensor:
        q, k, v = mix(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).square().sum()

    problem = Problem.of(mix, loss, lambda: mix(x).square().sum())
    exact, fd = (outer(problem, Phi(beta=0.3), d, Penalty(rho=0.01)) for d in ("exact", "finite_difference"))
    assert float((exact.gradient - fd.gradient).norm() / exact.gradient.norm()) < 0.05


def test_t19_fused_attention_cannot_be_differentiated_twice_and_exact_derivatives_take_it_apart() -> None:
    """Against attention written out; without the switch torch refuses, or this test would show nothing."""
    torch.manual_seed(0)
    mix = nn.Linear(8, 24).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)

    def parts() -> tuple[Tensor, ...]:
        return tuple(mix(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4))

    def fused() -> Tensor:
        return nn.functional.scaled_dot_product_attention(*parts(), is_causal=True).square().sum()

    def written_out() -> Tensor:
        q, k, v = parts()
        scores = (q @ k.mT / 2).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        return (scores.softmax(-1) @ v).square().sum()

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        (g,) = torch.autograd.grad(fused(), mix.weight, create_graph=True)
        with pytest.raises(RuntimeError, match="is not implemented"):
            torch.autograd.grad(g.square().sum(), mix.weight)
    retain = lambda: mix(x).cos().sum()  # noqa: E731
    found, true = (
        outer(Problem.of(mix, forget, retain), Phi(beta=0.3), "exact", Penalty(rho=0.01)).gradient
        for forget in (fused, written_out)
    )
    assert float((found - true).norm() / true.norm()) < 1e-10


def blocked(kind: str) -> nn.Module:
    """A layer that torch cannot differentiate twice."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 3, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.weight).tanh()

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:  # pyright: ignore
            return 2 * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad: Tensor) -> Tensor:  # pyright: ignore
            return 2 * grad

    layer = Layer()
    inside = layer.forward
    if kind == "Once":
        layer.forward = lambda x: Once.apply(inside(x))  # pyright: ignore
    elif kind == "torch.compile":
        layer.forward = torch.compile(inside, backend="aot_eager")
    else:
        reentrant = kind == "Checkpointing"
        layer.forward = lambda x: torch.utils.checkpoint.checkpoint(inside, x, use_reentrant=reentrant)
    return layer


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within torch's own compiler
@pytest.mark.parametrize("kind", ["Once", "torch.compile", "Checkpointing"])
def test_what_blocks_exact_derivatives_is_named_whatever_it_is(kind: str) -> None:
    torch.manual_seed(0)
    layer = blocked(kind)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=kind == "Checkpointing")
    problem = Problem.of(layer, lambda: layer(x).square().sum(), lambda: layer(x).exp().sum())
    with pytest.raises(InputError, match=f"'{kind}' cannot: use derivatives 'finite_difference'"):
        outer(problem, Phi(beta=0.3), "exact", Penalty(rho=0.1))
    outer(problem, Phi(beta=0.3), "finite_difference", Penalty(rho=0.1))


def test_checkpointing_that_is_not_reentrant_is_exact() -> None:
    torch.manual_seed(0)
    layer = blocked("not reentrant")
    plain = layer.__class__.forward
    x = torch.randn(5, 3, dtype=torch.float64)

    def gradient(of: Callable[[Tensor], Tensor]) -> Vector:
        problem = Problem.of(layer, lambda: of(x).square().sum(), lambda: of(x).exp().sum())
        return outer(problem, Phi(beta=0.3), "exact", Penalty(rho=0.1)).gradient

    found, true = gradient(layer), gradient(lambda x: plain(layer, x))
    assert float((found - true).norm() / true.norm()) < 1e-12


def test_what_blocks_exact_derivatives_is_named() -> None:
    p = {"x": torch.randn(4, 3, requires_grad=True)}
    problem = Problem(p, lambda: torch.cdist(p["x"], p["x"] + 1).sum(), lambda: p["x"].square().sum())
    with pytest.raises(InputError, match=r"'_cdist_backward' cannot: use derivatives 'finite_difference'"):
        inner(problem, Phi(beta=1.0))


def test_user_mistakes_are_explained() -> None:
    p = {"x": torch.zeros(2, requires_grad=True)}
    with pytest.raises(InputError, match="at least one"):
        Problem({}, lambda: p["x"].sum(), lambda: p["x"].sum())
    with pytest.raises(InputError, match="'y' is not a leaf"):
        Problem({"y": torch.zeros(2)}, lambda: p["x"].sum(), lambda: p["x"].sum())
    with pytest.raises(InputError, match="'x' and 'y' are the same"):
        Exact({"x": p["x"], "y": p["x"]})
    with pytest.raises(InputError, match=r"single number, but it has shape \(2,\)"):
        Exact(p).gradient(lambda: p["x"])
    with pytest.raises(InputError, match="does not depend"):
        FiniteDifference(p).gradient(lambda: p["x"].detach().sum())
    with pytest.raises(InputError, match=r"'x' is torch\.bfloat16"):
        FiniteDifference({"x": torch.zeros(2, dtype=torch.bfloat16, requires_grad=True)})
    with pytest.raises(InputError, match="same derivatives object"):
        Exact(p).product(lambda: Vector.zeros_like(p), Vector(x=torch.ones(2)))
    with pytest.raises(InputError, match="did you mean 'exact'"):
        make("exat", p)
    with pytest.raises(InputError, match="beta is -1"):
        inner(Problem(p, lambda: p["x"].sum(), lambda: p["x"].sum()), Phi(beta=-1.0))
    with pytest.raises(RunError, match="forget gradient is not finite"):
        inner(Problem(p, lambda: p["x"].log().sum(), lambda: p["x"].sum()), Phi(beta=1.0))


def test_steps_follow_the_run_but_only_between_evaluations_and_not_in_leaps() -> None:
    p = {"x": torch.linspace(0.1, 1, 7, dtype=torch.float64).requires_grad_()}
    fd, frequency = FiniteDifference(p), 1.0

    def field() -> Vector:
        return fd.gradient(lambda: (frequency * p["x"]).sin().sum())

    d = Vector(x=torch.ones(7, dtype=torch.float64))
    fd.product(field, d, key="H")
    slow, frequency, seen = fd.steps["H"], 1000.0, []
    for _ in range(6):
        fd.product(field, d, key="H")
        assert fd.steps["H"] == (seen[-1] if seen else slow)
        fd.refresh()
        seen.append(fd.steps["H"])
    assert seen[0] == pytest.approx(slow / 10)
    assert 300 < slow / seen[-1] < 3000
