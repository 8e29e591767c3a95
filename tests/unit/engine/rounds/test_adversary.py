"""The relearning adversary against torch's own Adam, on full batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ofmu.core.vector import Vector
from ofmu.engine.checks import Check
from ofmu.engine.goal import LevelGoal
from ofmu.engine.levels import Levels
from ofmu.engine.objective import Objective
from ofmu.engine.processes import Processes, processes
from ofmu.engine.rounds.adversary import length
from ofmu.engine.task import Task
from ofmu.errors import InputError
from ofmu.methods.ofmu import OFMU
from smooth import smooth
from tasks import make_task, sets

LR, RATE, MOST, ROUNDS = 0.05, 0.3, 4, 9

PLAIN: dict[str, Any] = {
    "similarity": "none",
    "balance": "fixed",
    "optimiser": "sgd",
    "objective": Objective(name="nll"),
    "lambda_eff": 0.5,
    "adversary_rate": RATE,
}


@pytest.fixture
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


def task_of(model: torch.nn.Module, ranks: Processes) -> Task:
    return make_task(model, ranks, modality="image", learning_rate=LR, batch_size=9, part_size=9)


def rounds_by_hand(model: torch.nn.Module, rates: list[float], seed: int) -> dict[str, Tensor]:
    """The same rounds with torch's Adam on δ and autograd at θ + δ."""
    theta = {name: p.detach().clone() for name, p in model.named_parameters()}
    batches = {name: found.batch(range(len(found))) for name, found in sets("image").items()}

    def gradient(at: dict[str, Tensor], which: str) -> dict[str, Tensor]:
        point = {name: value.clone().requires_grad_() for name, value in at.items()}
        loss = cross_entropy(functional_call(model, point, (batches[which].pixel_values,)), batches[which].labels)
        return dict(zip(point, torch.autograd.grad(loss, list(point.values()))))

    lesson, left = -1, 0
    delta, teacher = {}, None
    for lr in rates:
        between = left == 0
        if between:
            lesson += 1
            left = length(seed, lesson, MOST) + 1
            delta = {name: torch.zeros_like(value, requires_grad=True) for name, value in theta.items()}
            teacher = torch.optim.Adam(delta.values(), lr=RATE * LR)
        left -= 1
        g_f = gradient({name: value + delta[name].detach() for name, value in theta.items()}, "forget")
        for name, value in theta.items():
            value += lr * PLAIN["lambda_eff"] * g_f[name]
            delta[name].grad = g_f[name]
        assert teacher is not None
        if not between:
            teacher.step()
        g_r = gradient(theta, "retain")
        for name, value in theta.items():
            value -= lr * g_r[name]
    return theta


def taken(model: torch.nn.Module, steps: int, ranks: Processes, count: int) -> tuple[Task, list[float]]:
    """Rounds of the engine, and the step sizes that they had."""
    task, rates = task_of(model, ranks), []
    process = OFMU(**PLAIN, adversary_steps=steps).start(task)
    for _ in range(count):
        rates.append(task.pace.now())
        process.step()
        task.pace.step += 1
    return task, rates


def test_rounds_are_those_with_adam_on_the_displacement(ranks: Processes) -> None:
    model, without = smooth(), smooth()
    task, rates = taken(model, MOST, ranks, ROUNDS)
    expected = rounds_by_hand(smooth(), rates, task.seed)
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], rtol=1e-9, atol=1e-11)

    plain, _ = taken(without, 0, ranks, ROUNDS)
    assert float((Vector(task.parameters).detach() - Vector(plain.parameters).detach()).norm()) > 1e-3
    assert task.meter.gradients == plain.meter.gradients  # the teaching takes none of its own


def test_a_lesson_of_one_step_is_no_adversary(ranks: Processes) -> None:
    one, none = (Vector(taken(smooth(), steps, ranks, 3)[0].parameters).clone() for steps in (1, 0))
    assert float((one - none).norm()) == 0.0


def test_too_far_is_called_back_at_the_weights_only(ranks: Processes) -> None:
    """Every example above its level: at θ + δ there is nothing to do."""
    task = task_of(smooth(), ranks)
    task.levels = Levels(dict.fromkeys(task.data["forget"].ids, 0.0), "holdout")
    process = OFMU(**PLAIN | {"objective": Objective(name="level")}, adversary_steps=MOST).start(task)
    for _ in range(ROUNDS):
        record = process.step()
        at_the_weights = process.state_dict()["place"]["age"] == 0
        assert (record.norm_forget > 0) == at_the_weights


def test_the_penalty_is_at_the_weights_with_their_own_objective(ranks: Processes) -> None:
    """Every example above its level: one-sided, at θ + δ, ∇Φ is 0, and so would the penalty be."""
    task = task_of(smooth(), ranks)
    task.levels = Levels(dict.fromkeys(task.data["forget"].ids, 0.0), "holdout")
    options = PLAIN | {"objective": Objective(name="level"), "rho": 0.1, "guard": False}
    process = OFMU(**options, adversary_steps=MOST).start(task)
    records = [process.step() for _ in range(ROUNDS)]
    displaced = [record for record in records if record.more["displacement"] is not None]
    assert displaced
    assert all(record.norm_forget == 0 and record.more["kappa"] != 0 for record in displaced)


def test_the_record_tells_where_the_forget_loss_was_seen(ranks: Processes) -> None:
    process = OFMU(**PLAIN, adversary_steps=MOST).start(task_of(smooth(), ranks))
    for _ in range(ROUNDS):
        record = process.step()
        assert (record.more["displacement"] is None) == (process.state_dict()["place"]["age"] == 0)


def test_lessons_have_every_length() -> None:
    drawn = [length(3, lesson, 5) for lesson in range(200)]
    assert sorted(set(drawn)) == [1, 2, 3, 4, 5]
    assert drawn != [length(4, lesson, 5) for lesson in range(200)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sam_radius": 0.1}, "set one of them to 0"),
        ({"adversary_steps": 1}, "adversary_steps 1 teaches nothing"),
        ({"rho": 0.1, "derivatives": "secant"}, "or adversary_steps 0"),
        ({"rho": 0.1, "rho_schedule": "augmented_lagrangian"}, "or adversary_steps 0"),
        ({"rho": 0.1, "rho_schedule": "adaptive", "rho_growth": 2.0}, "or adversary_steps 0"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options: dict[str, Any], words: str, ranks: Processes) -> None:
    with pytest.raises(InputError, match=words):
        OFMU(**{"adversary_steps": 4} | options).check(task_of(smooth(), ranks))


def looked_at(forget_loss: float) -> Check:
    return Check(forget_loss, 0.1, reached=False, agreement=0.0, progress=0.0, retain_excess=0.0)


def with_goal(task: Task, level: float) -> Task:
    """A task that waits for losses of `level`, in nats."""
    ids = task.data["forget"].ids
    task.levels = Levels(dict.fromkeys(ids, level), "holdout")
    task.goal = LevelGoal(task.levels, ids, np.zeros(len(ids)))
    return task


def test_lessons_rest_from_a_check_past_the_level_to_the_next_below(ranks: Processes) -> None:
    options = PLAIN | {"objective": Objective(name="level")}
    task = with_goal(task_of(smooth(), ranks), 2.0)
    process = OFMU(**options, adversary_steps=MOST).start(task)

    def displaced(rounds: int) -> list[bool]:
        return [process.step().more["displacement"] is not None for _ in range(rounds)]

    assert any(displaced(3))  # a lesson is under way, and is broken off
    process.observe(looked_at(2.1))
    assert not any(displaced(2 * MOST))
    state = copy.deepcopy(process.state_dict())
    process = OFMU(**options, adversary_steps=MOST).start(task)
    process.load_state_dict(state)
    assert not any(displaced(2 * MOST))  # a resumed run rests too
    process.observe(looked_at(1.9))
    assert any(displaced(2 * MOST))


def test_what_is_past_its_level_is_called_back_with_full_weight(ranks: Processes) -> None:
    """Past the level neither the balance yields nor does a lesson hide what is to be called back."""
    task = with_goal(task_of(smooth(), ranks), 0.0)
    options = PLAIN | {"objective": Objective(name="level"), "balance": "adaptive"}
    process = OFMU(**options, adversary_steps=MOST).start(task)
    process.observe(looked_at(3.0))
    assert process.state_dict()["balance"]["weight"] == PLAIN["lambda_eff"]
    assert all(process.step().norm_forget > 0 for _ in range(2 * MOST))


def test_where_nothing_is_waited_for_lessons_go_on(ranks: Processes) -> None:
    process = OFMU(**PLAIN, adversary_steps=MOST).start(task_of(smooth(), ranks))
    process.observe(looked_at(99.0))
    assert any(process.step().more["displacement"] is not None for _ in range(2 * MOST))
