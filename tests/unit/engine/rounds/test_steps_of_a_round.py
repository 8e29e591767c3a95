"""Places, base, trust region and measurement of a round, against rounds worked out by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ofmu.core.vector import Vector
from ofmu.engine.objective import Objective
from ofmu.engine.processes import Processes, processes
from ofmu.engine.rounds.losses import Losses
from ofmu.engine.rounds.place import visited
from ofmu.engine.rounds.places import Sharp
from ofmu.engine.rounds.trust import Region
from ofmu.engine.task import Task
from ofmu.losses import nll
from ofmu.methods.ofmu import OFMU
from smooth import smooth
from tasks import make_task

PLAIN: dict[str, Any] = {
    "similarity": "none",
    "balance": "fixed",
    "optimiser": "sgd",
    "objective": Objective(name="nll"),
}
LR = 0.05


@pytest.fixture
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


def task_of(ranks: Processes) -> Task:
    task = make_task(smooth(), ranks, modality="image", learning_rate=LR, part_size=5)
    task.pace.warm = 1
    return task


def theta_of(task: Task) -> Vector:
    return Vector(task.parameters).clone()


def put(task: Task, theta: Vector) -> None:
    with torch.no_grad():
        for name, p in task.parameters.items():
            p.copy_(theta[name])


def close(one: Vector, other: Vector, scale: float) -> None:
    assert float((one - other).norm()) < 1e-9 * scale


def losses_of(task: Task) -> Losses:
    return Losses(task, lambda rows, _: nll(rows), "tokens")


@pytest.mark.parametrize("inner_steps", [1, 3])
@pytest.mark.parametrize("outer_steps", [1, 2])
def test_plain_steps_measure_the_balance_that_was_asked_for(
    inner_steps: int, outer_steps: int, ranks: Processes
) -> None:
    method = OFMU(**PLAIN, lambda_eff=0.37, inner_steps=inner_steps, outer_steps=outer_steps)
    record = method.start(task_of(ranks)).step()
    assert record.more["lambda_measured"] == pytest.approx(0.37, rel=1e-6)
    assert record.more["lambda_eff"] == 0.37


def test_two_adam_states_measure_another_balance(ranks: Processes) -> None:
    """A forget gradient a hundredth as long is stepped along as far: weighed against its length, a hundred times."""
    options = PLAIN | {"optimiser": "adamw", "optimiser_states": "two", "lambda_eff": 0.2}
    found = []
    for width in (1.0, 0.01):
        method = OFMU(**options | {"objective": Objective(name="level", width=width)})
        found.append(method.start(task_of(ranks)).step().more["lambda_measured"])
    assert found[1] == pytest.approx(100 * found[0], rel=0.2)


def test_an_anchored_round_steps_from_where_it_began_with_gradients_from_where_the_inner_steps_ended(
    ranks: Processes,
) -> None:
    task, by_hand = task_of(ranks), task_of(ranks)
    start = theta_of(task)
    OFMU(**PLAIN, base="anchored", inner_steps=2, lambda_eff=0.5).start(task).step()

    losses, gradient = losses_of(by_hand), by_hand.derivatives().gradient
    for _ in range(2):
        pair = losses.draw()
        put(by_hand, theta_of(by_hand).plus(gradient(pair.forget), 0.5 * LR / 2))
    close(theta_of(task), start.plus(gradient(pair.retain), -LR), LR)


@pytest.mark.parametrize("of", ["whole", "matrix"])
def test_sharpness_asks_where_a_step_would_remember_most(of: str, ranks: Processes) -> None:
    task = task_of(ranks)
    pair, theta, derivatives = losses_of(task).draw(), theta_of(task), task.derivatives()
    delta = Sharp(derivatives, 0.1, of).displacement(pair)  # pyright: ignore[reportArgumentType]
    assert delta is not None
    g = derivatives.gradient(pair.forget)
    if of == "whole":
        close(delta, g * float(-0.1 * theta.norm() / g.norm()), 1.0)
    for name in theta if of == "matrix" else []:
        assert torch.allclose(delta[name], -0.1 * g[name] * theta[name].norm() / g[name].norm())
    here = pair.forget.value
    with visited(task, delta):
        close(theta_of(task), theta + delta, 1.0)
        derivatives.gradient(pair.forget)
        assert pair.forget.value < here
    assert all(torch.equal(theta[name], p) for name, p in task.parameters.items())


def test_a_place_is_left_after_an_error_too(ranks: Processes) -> None:
    task = task_of(ranks)
    theta = theta_of(task)
    with pytest.raises(ZeroDivisionError), visited(task, theta * 0.3):
        raise ZeroDivisionError
    assert all(torch.equal(theta[name], p) for name, p in task.parameters.items())


def test_a_sharp_round_is_one_with_the_forget_gradient_of_another_place(ranks: Processes) -> None:
    task, by_hand = task_of(ranks), task_of(ranks)
    OFMU(**PLAIN, sam_radius=0.2, lambda_eff=0.5).start(task).step()

    pair, derivatives = losses_of(by_hand).draw(), by_hand.derivatives()
    with visited(by_hand, Sharp(derivatives, 0.2, "whole").displacement(pair)):
        w = derivatives.gradient(pair.forget)
    put(by_hand, theta_of(by_hand).plus(w, 0.5 * LR))
    put(by_hand, theta_of(by_hand).plus(derivatives.gradient(pair.retain), -LR))
    close(theta_of(task), theta_of(by_hand), LR)
    assert task.meter.gradients == 3


@pytest.mark.parametrize("of", ["whole", "matrix"])
def test_no_round_goes_further_than_the_trust_region(of: str, ranks: Processes) -> None:
    free, held = task_of(ranks), task_of(ranks)
    start = theta_of(free)
    OFMU(**PLAIN).start(free).step()
    record = OFMU(**PLAIN, trust_region=1e-4, trust_of=of).start(held).step()  # pyright: ignore[reportArgumentType]
    way, free_way = theta_of(held) - start, theta_of(free) - start
    if of == "whole":
        assert float(way.norm() / start.norm()) == pytest.approx(1e-4)
        close(way, free_way * float(way.norm() / free_way.norm()), float(way.norm()))
    shares = [float(way[name].norm() / start[name].norm()) for name in way]
    assert max(shares) == pytest.approx(1e-4) or of == "whole"
    assert 0 < record.more["trust"] < 1  # pyright: ignore[reportOptionalOperand]


def test_a_way_within_the_region_is_left_as_it_is(ranks: Processes) -> None:
    task = task_of(ranks)
    region = Region(task, 0.5, "whole")
    put(task, theta_of(task) * 1.01)
    there = theta_of(task)
    assert region.keep() == 1.0
    assert all(torch.equal(there[name], p) for name, p in task.parameters.items())


def test_a_ratio_that_changes_is_followed_by_the_rounds(ranks: Processes) -> None:
    """λ = r ‖∇L_r‖/‖∇Φ‖ with the last outer step's retain gradient, and the r that is due at each round."""
    task = task_of(ranks)
    process = OFMU(similarity="none", rho=0.0, priority="from 1 to .25", balance="fixed", lambda_eff=100.0).start(task)
    records = []
    for _ in range(4):
        records.append(process.step())
        task.pace.step += 1
    for number, (before, now) in enumerate(itertools.pairwise(records), start=1):
        due = 0.25 ** (number / task.pace.steps)
        assert before.norm_retain is not None
        assert now.more["norm_phi"] is not None
        assert now.more["lambda_eff"] == pytest.approx(due * before.norm_retain / now.more["norm_phi"], rel=1e-6)
