"""Every forget objective of OFMU by its name: what it needs, what it is over, and that it pushes the right way."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ofmu.engine.forward import rows
from ofmu.engine.objective import Objective, forget_objective
from ofmu.engine.processes import Processes, processes
from ofmu.engine.task import Task
from ofmu.engine.token_losses import token_losses
from tasks import make_task
from toys import llama

PUSHES = {
    "level": "examples",
    "token_level": "examples",
    "nll": "tokens",
    "npo": "examples",
    "simnpo": "examples",
    "clip": "examples",
    "uniform": "tokens",
    "token_probability": "tokens",
}


@pytest.fixture
def task() -> Iterator[Task]:
    with processes(device="cpu", precision="fp32", parallel="auto") as ranks:
        yield task_of(ranks)


def task_of(ranks: Processes) -> Task:
    torch.manual_seed(0)
    return make_task(llama(), ranks)


@pytest.mark.parametrize("name", PUSHES)
def test_a_step_down_the_objective_forgets_below_the_level(task: Task, name: str) -> None:
    """The toy begins at a loss of log K, so its levels are put above that."""
    assert task.levels is not None
    for i, tokens in task.levels.tokens.items():
        task.levels.by_id[i] += 9.0
        tokens += 9.0
    values, per = forget_objective(task, Objective(name=name))  # pyright: ignore[reportArgumentType]
    assert per == PUSHES[name]
    forget = task.data["forget"]
    batch = forget.batch(list(range(len(forget))))
    found = rows(task.model, batch)
    before = found.nll_means().mean()
    objective = values(found, batch)
    assert objective.shape == (len(forget),)
    slopes = torch.autograd.grad(objective.sum(), list(task.parameters.values()))
    size = math.sqrt(sum(float(g.square().sum()) for g in slopes))
    with torch.no_grad():
        for p, g in zip(task.parameters.values(), slopes):
            p -= 0.05 / size * g
    after = rows(task.model, batch)
    assert values(after, batch).sum() < objective.sum()
    if name != "uniform":  # which cares for all tokens, and the toy is nearly uniform
        assert after.nll_means().mean() > before


def test_token_losses_are_those_of_single_examples_whatever_the_batch(task: Task) -> None:
    forget = task.data["forget"]
    found = task.token_losses(task.watch_forget)
    one = token_losses(task.model, task.watch_forget, processes=task.processes, meter=None, part_size=1)
    for k, (together, alone) in enumerate(zip(found, one, strict=True)):
        by_hand = -rows(task.model, forget.batch([k])).log_probabilities().detach().numpy()
        assert len(together) == forget.counts[k]
        assert together == pytest.approx(by_hand, abs=1e-5)
        assert alone == pytest.approx(by_hand, abs=1e-5)
    assert task.meter.forward_examples == len(forget)


def test_clip_takes_its_ceiling_from_the_option_then_the_levels_then_chance(task: Task) -> None:
    forget = task.data["forget"]
    batch = forget.batch([0, 1])
    found = rows(task.model, batch)
    means = found.nll_means().detach().double().numpy()

    def by_hand(ceilings: list[float]) -> np.ndarray:
        return np.logaddexp(0, np.array(ceilings) - means)

    def clipped(options: Objective) -> np.ndarray:
        return forget_objective(task, options)[0](found, batch).detach().numpy()

    assert clipped(Objective(name="clip", ceiling=2.0)) == pytest.approx(by_hand([2, 2]), rel=1e-5)
    assert clipped(Objective(name="clip")) == pytest.approx(by_hand([3, 4]), rel=1e-5)
    task.levels = None
    assert clipped(Objective(name="clip")) == pytest.approx(by_hand([math.log(10)] * 2), rel=1e-5)


def test_auto_is_a_level_for_each_token_of_texts_unless_their_curvature_is_asked_for(task: Task) -> None:
    batch = task.data["forget"].batch([0, 1])
    found = rows(task.model, batch)

    def values(options: Objective, *, penalised: bool = False) -> list[float]:
        return forget_objective(task, options, penalised=penalised)[0](found, batch).tolist()

    auto, mean, tokens = (Objective(name=name) for name in ("auto", "level", "token_level"))
    assert values(mean) != values(tokens)
    assert values(auto) == values(tokens)
    assert values(auto, penalised=True) == values(mean)
    task.removed = torch.arange(found.logits.shape[1]) < 10
    assert values(auto) == values(Objective(name="removal"))
