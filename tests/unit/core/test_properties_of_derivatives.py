"""What holds of derivatives whatever the loss: orders of error, subsets, sums of parts, and nothing left changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ofmu.core import FiniteDifference, GaussNewton, Penalty, Phi, Problem, Secant, Vector, inner, outer
from ofmu.core.derivatives import make
from ofmu.core.displacement import Displacement
from ofmu.errors import InputError, RunError

PHI = Phi(beta=0.3)


class Restless(nn.Module):
    """Dropout draws and batch statistics that move."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.dropout(self.norm(self.first(x)).tanh(), 0.4))


class Part:
    """A loss that shows its outputs; it may break at an evaluation of them."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, weight: float = 1.0, fatal: int = 0) -> None:
        self.model, self.x, self.y, self.weight, self.fatal, self.calls = model, x, y, weight, fatal, 0

    def outputs(self) -> Tensor:
        self.calls += 1
        z = self.model(self.x)
        if self.calls == self.fatal:
            raise KeyboardInterrupt
        return z

    def criterion(self, outputs: Tensor) -> Tensor:
        return self.weight * nn.functional.cross_entropy(outputs, self.y)

    def __call__(self) -> Tensor:
        return self.criterion(self.outputs())


def restless(fatal: int = 0) -> tuple[Problem, Callable[[], None]]:
    """A problem in training mode, and a check that everything is bit for bit as it was."""
    torch.manual_seed(0)
    model = Restless().double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(3, (20,))
    problem = Problem.of(model, Part(model, x[:8], y[:8], fatal=fatal), Part(model, x[8:], y[8:]))
    first = next(model.parameters())
    first.grad = torch.randn_like(first)
    grad, kept = first.grad, first.grad.clone()
    state = {n: t.clone() for n, t in model.state_dict().items()}
    generator = torch.get_rng_state()

    def unchanged() -> None:
        assert all(torch.equal(state[n], t) for n, t in model.state_dict().items())
        assert torch.equal(generator, torch.get_rng_state())
        assert first.grad is grad
        assert torch.equal(grad, kept)
        assert all(p.grad is None for p in list(model.parameters())[1:])

    return problem, unchanged


@pytest.mark.parametrize("fatal", [0, 1, 2, 3, 4])
def test_gauss_newton_leaves_nothing_changed(fatal: int) -> None:
    problem, unchanged = restless(fatal)
    if fatal:
        with pytest.raises(KeyboardInterrupt):
            inner(problem, PHI, "gauss_newton")
    else:
        found = inner(problem, PHI, "gauss_newton")
        again = inner(problem, PHI, "gauss_newton")
        assert all(torch.equal(found.gradient[n], again.gradient[n]) for n in found.gradient)  # the same draws
    unchanged()


def test_the_cheaper_forms_leave_nothing_changed() -> None:
    problem, unchanged = restless()
    fd = FiniteDifference(problem.parameters, problem.buffers)
    before = inner(problem, PHI, fd)
    inner(problem, PHI, fd, held=before)
    inner(problem, PHI, fd, retain=before.g_r)
    outer(problem, PHI, fd, Penalty(rho=0.1), secant=Secant(before, 0.1))
    outer(problem, PHI, fd, Penalty(rho=0.1), second=problem, retain=before.g_r)
    outer(problem, PHI, "exact", Penalty(rho=0.1, derivatives=fd))
    unchanged()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(False, 1), (True, 2)]))
def test_the_error_falls_with_the_step_to_the_order_of_the_quotient(seed: int, kind: tuple[bool, int]) -> None:
    """The truncation of (19): h forward, h² central."""
    central, order = kind
    torch.manual_seed(seed)
    p = {"x": torch.randn(6, dtype=torch.float64).requires_grad_()}
    A, d = torch.randn(6, 6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    fd = FiniteDifference(p, central=central)

    def error(h: float) -> float:
        fd.set_step("H", h)
        found = fd.product(lambda: fd.gradient(lambda: (A @ p["x"]).sin().sum() / 3), Vector(x=d), key="H")["x"]
        true = -(A.T @ torch.diag((A @ p["x"].detach()).sin()) @ A @ d) / 3
        return float((found - true).norm())

    # over a long way, so that a third derivative that happens to be small at this place does not matter
    assert error(4e-3) / error(1e-3) == pytest.approx(4**order, rel=0.5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_gauss_newton_is_symmetric_linear_in_length_and_never_negative(seed: int, length: float) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    part = Part(model, torch.randn(7, 3, dtype=torch.float64), torch.randint(3, (7,)))
    p = dict(model.named_parameters())
    gn = GaussNewton(p)
    u, v = (Vector({n: torch.randn_like(x.detach()) for n, x in p.items()}) for _ in range(2))
    Gu, Gv = gn.curvature(part, length * u), gn.curvature(part, v)
    scale = float(Gu.norm() * v.norm()) + length * float(Gv.norm() * u.norm())
    assert abs(float(Gu.dot(v)) - length * float(Gv.dot(u))) < 1e-6 * scale
    assert float(Gu.dot(u)) > -1e-6 * scale


def test_gauss_newton_of_parts_is_that_of_the_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, y = torch.randn(9, 3, dtype=torch.float64), torch.randint(3, (9,))
    d = Vector({n: torch.randn_like(p.detach()) for n, p in model.named_parameters()})
    gn = GaussNewton(dict(model.named_parameters()))
    whole = gn.curvature(Part(model, x, y), d)
    split = gn.curvature([Part(model, x[:2], y[:2], 2 / 9), Part(model, x[2:], y[2:], 7 / 9)], d)
    assert float((whole - split).norm() / whole.norm()) < 1e-12


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["exact", "finite_difference", "central"]), st.integers(1, 20), st.booleans())
def test_whenever_it_breaks_off_nothing_is_left_changed(name: str, fatal: int, penalty: bool) -> None:
    """At any evaluation of a step: θ, buffers, `.grad` and generators bit for bit, and the next step is as ever."""
    problem, unchanged = restless(fatal)
    part = problem.forget
    assert isinstance(part, Part)

    def work() -> Vector:
        if penalty:
            return outer(problem, PHI, name, Penalty(rho=0.1)).gradient
        return inner(problem, PHI, name).gradient

    broke = False
    try:
        work()
    except KeyboardInterrupt:
        broke = True
    assert broke == (part.calls >= fatal)
    unchanged()
    part.fatal = 0
    again, fresh = work(), outer(restless()[0], PHI, name, Penalty(rho=0.1)).gradient if penalty else None
    assert fresh is None or all(torch.equal(again[n], fresh[n]) for n in fresh)
    unchanged()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["exact", "central"]), st.integers(1, 3))
def test_an_adapter_s_products_are_those_of_the_whole_restricted_to_it(seed: int, name: str, rank: int) -> None:
    """W + BA: along a direction that leaves W alone, the whole's gradient and Hessian product, less their part in W."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64).requires_grad_()

    whole = {"W": draw(5, 4), "A": draw(rank, 4), "B": draw(5, rank)}
    adapter = {key: whole[key] for key in ("A", "B")}
    x, y = draw(9, 4).detach(), torch.randint(5, (9,), generator=g)

    def loss() -> Tensor:
        return nn.functional.cross_entropy((x @ (whole["W"] + whole["B"] @ whole["A"]).T).tanh(), y)

    d = Vector({key: draw(*p.shape).detach() for key, p in adapter.items()})
    padded = Vector({"W": torch.zeros_like(whole["W"]), **d})
    full, part = make(name, whole), make(name, adapter)
    expected = [full.gradient(loss), full.product(lambda: full.gradient(loss), padded)]
    whole["W"].requires_grad_(False)
    found = [part.gradient(loss), part.product(lambda: part.gradient(loss), d)]
    for of_part, of_whole in zip(found, expected, strict=True):
        true = Vector({key: of_whole[key] for key in adapter})
        assert float((of_part - true).norm()) <= (1e-12 if name == "exact" else 1e-6) * float(true.norm())


@pytest.mark.parametrize("name", ["exact", "central", "finite_difference"])
def test_a_subset_of_parameters_is_the_whole_restricted_to_it(name: str) -> None:
    """An adapter's ∇Φ and y are those of the losses as functions of the adapter alone: blocks of the dense Hessians."""
    torch.manual_seed(0)
    W, b = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    x, y = torch.randn(12, 3, dtype=torch.float64), torch.randint(4, (12,))

    def loss(W: Tensor, b: Tensor, rows: slice) -> Tensor:
        return nn.functional.cross_entropy((x[rows] @ W.T + b).tanh() * 2, y[rows])

    frozen, adapter = W.clone(), {"b": b.clone().requires_grad_()}
    problem = Problem(adapter, *(lambda r=r: loss(frozen, adapter["b"], r) for r in (slice(0, 5), slice(5, 12))))

    def objective(t: Tensor) -> Tensor:
        g_f, g_r = (torch.autograd.grad(loss(W, t, r), t, create_graph=True)[0] for r in (slice(0, 5), slice(5, 12)))
        phi = loss(W, t, slice(0, 5)) - 0.3 * g_f @ g_r / (g_f.norm() * g_r.norm())
        (w,) = torch.autograd.grad(phi, t, create_graph=True)
        return loss(W, t, slice(5, 12)) + 0.2 * w @ w

    t = b.clone().requires_grad_()
    (true,) = torch.autograd.grad(objective(t), t)
    found = outer(problem, PHI, name, Penalty(rho=0.2)).gradient["b"]
    assert (
        float((found - true).norm() / true.norm()) < {"exact": 1e-12, "central": 1e-5, "finite_difference": 1e-2}[name]
    )


def test_a_displacement_is_measured_where_rounding_can_be_felt_and_refused_where_it_is_lost() -> None:
    torch.manual_seed(0)
    p = {"x": (1 + torch.rand(2000)).requires_grad_()}
    d = Vector(x=torch.randn(2000))
    kept = p["x"].detach().clone()
    place = Displacement(p)
    with place.along(d, 1e-6, measured=True) as applied:
        moved = (p["x"].detach().double() - kept.double()) @ d["x"].double() / d["x"].double().square().sum()
        assert applied == pytest.approx(float(moved), rel=1e-6)
    with pytest.raises(RunError, match="lost in the rounding"), place.along(d, 1e-9, measured=True):
        pass
    with place.along(d, 0.1), place.along(d, 0.2):  # nested displacements add up
        assert torch.allclose(p["x"], kept + 0.3 * d["x"])
    assert torch.equal(p["x"], kept)
    with pytest.raises(InputError, match=r"'x' is torch\.bfloat16: load the model in float32"):
        Displacement({"x": torch.zeros(2, dtype=torch.bfloat16, requires_grad=True)})


def test_a_measured_step_divides_by_the_way_that_was_gone() -> None:
    """Of x²/2 the quotient is then right however coarse the rounding: the gradient is the parameter itself."""
    p = {"x": torch.full((1,), 1.0).requires_grad_()}
    fd = FiniteDifference(p)
    fd.set_step("H", 1.6e-7)  # 1.3 units in the last place of 1
    found = fd.product(lambda: fd.gradient(lambda: p["x"].square().sum() / 2), Vector(x=torch.ones(1)), key="H")
    assert float(found["x"]) == pytest.approx(1.0, rel=1e-6)
