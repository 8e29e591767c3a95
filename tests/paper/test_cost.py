"""T5: the cost table, in exact integers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd.profiler import profile

from ofmu.core import Exact, FiniteDifference, Penalty, Phi, Problem, SolveOptions, inner, outer, solve
from reference.dense import Toy


class Counted:
    """A loss in two parts that counts the evaluations of each."""

    def __init__(self, loss: Callable[[], Tensor]):
        self.counts = [0, 0]
        self._loss = loss

    def parts(self) -> list[Callable[[], Tensor]]:
        def part(i: int) -> Callable[[], Tensor]:
            def evaluate() -> Tensor:
                self.counts[i] += 1
                return self._loss() / 2

            return evaluate

        return [part(0), part(1)]

    def take(self) -> int:
        first, second = self.counts
        self.counts = [0, 0]
        assert first == second  # each part once a gradient
        return first


def counted(conflict: bool = True) -> tuple[Problem, Callable[[], tuple[int, int]]]:
    """A problem with c > 0 or c < 0, and (evaluations of L_f, of L_r) since the last call."""
    toy = Toy(seed=2)
    p = toy.leaves()
    sign = 1 if conflict else -1
    f, r = Counted(lambda: toy.forget(p)), Counted(lambda: sign * toy.retain(p))
    return Problem(p, f.parts(), r.parts()), lambda: (f.take(), r.take())


@pytest.mark.parametrize(("central", "up", "down"), [(True, (3, 3), (9, 9)), (False, (2, 2), (4, 4))], ids=["C1", "C2"])
def test_differences_of_an_active_similarity(central: bool, up: tuple[int, int], down: tuple[int, int]) -> None:
    problem, spent = counted()
    fd = FiniteDifference(problem.parameters, central=central)
    outer(problem, Phi(beta=0.5), fd, Penalty(rho=0.1))  # the first products look for their steps
    spent()
    inner(problem, Phi(beta=0.5), fd)
    assert spent() == up
    outer(problem, Phi(beta=0.5), fd, Penalty(rho=0.1))
    assert spent() == down


def test_c7_an_inactive_hinge_costs_two_and_three() -> None:
    problem, spent = counted(conflict=False)
    fd = FiniteDifference(problem.parameters)
    outer(problem, Phi(beta=0.5, similarity="squared_hinge"), fd, Penalty(rho=0.1))
    spent()
    assert not inner(problem, Phi(beta=0.5, similarity="squared_hinge"), fd).active
    assert spent() == (1, 1)
    outer(problem, Phi(beta=0.5, similarity="squared_hinge"), fd, Penalty(rho=0.1))
    assert spent() == (2, 1)


def test_c8_the_projected_step_costs_two_and_one_and_is_right() -> None:
    problem, spent = counted()
    fd = FiniteDifference(problem.parameters)
    at = inner(problem, Phi(beta=0.5, step="projected"), fd)
    assert spent() == (1, 1)
    assert abs(float(at.gradient.dot(at.g_r))) < 1e-15  # what was in conflict is gone
    assert float(at.gradient.norm()) == pytest.approx(at.a * (1 - at.c**2) ** 0.5)
    outer(problem, Phi(beta=0.5, step="projected"), fd, Penalty(rho=0.1))
    assert spent() == (0, 1)
    friendly, _ = counted(conflict=False)
    at = inner(friendly, Phi(beta=0.5, step="projected"))
    assert float((at.gradient - at.g_f).norm()) == 0


def test_without_penalty_the_outer_step_is_one_gradient() -> None:
    problem, spent = counted()
    found = outer(problem, Phi(beta=0.5), FiniteDifference(problem.parameters), Penalty(rho=0.0))
    assert spent() == (0, 1)
    assert found.inner is None


def test_c0_exact_derivatives_cost_six_and_eighteen_in_matrix_products() -> None:
    """Counted in products of equal size, in losses in which every factor is a parameter."""
    p = {n: torch.randn(16, 16, dtype=torch.float64, requires_grad=True) for n in "abcd"}
    problem = Problem(
        p,
        lambda: (p["a"] @ p["b"]).tanh().square().sum() / 9,
        lambda: (p["c"] @ p["d"]).sin().square().sum() / 7 + (p["a"] * p["c"]).sum(),
    )

    def products(work: Callable[[], object]) -> int:
        with profile() as seen:
            work()
        return sum(event.name == "aten::mm" for event in seen.function_events or [])

    assert products(lambda: Exact(p).gradient(problem.forget)) == 3  # one forward, two backward: one unit
    assert products(lambda: Exact(p).gradient(problem.retain)) == 3
    assert products(lambda: inner(problem, Phi(beta=0.5))) == 6 * 3
    assert products(lambda: outer(problem, Phi(beta=0.5), "exact", Penalty(rho=0.1))) == 18 * 3


def test_a_run_counts_its_gradients() -> None:
    problem, spent = counted()
    rounds = list(solve(problem, SolveOptions(rounds=3, inner_steps=5, similarity="cosine", outer_lr=0.05)))
    assert rounds[-1].gradients == sum(spent())
    assert rounds[2].gradients - rounds[1].gradients == 5 * 4 + 8
    assert rounds[0].forget_loss == pytest.approx(float(Toy(seed=2).forget(Toy(seed=2).leaves()).detach()))
