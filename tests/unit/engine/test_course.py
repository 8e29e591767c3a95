"""Step sizes, lengths, levels, goals and checks: numbers worked out by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ofmu.engine.balance import Balance
from ofmu.engine.checks import Check
from ofmu.engine.goal import LevelGoal, RemovalGoal
from ofmu.engine.levels import Levels, agreement, deal
from ofmu.engine.loss import Draw
from ofmu.engine.objective import Objective
from ofmu.engine.pace import SETTLE, Pace, default_steps
from ofmu.engine.processes import Processes, processes
from ofmu.engine.task import choose
from ofmu.errors import InputError
from ofmu.losses import Rows
from ofmu.methods.ofmu import OFMU
from tasks import make_task
from toys import convnet, llama


@pytest.fixture
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


# Pace


def course(pace: Pace) -> list[float]:
    found = []
    while not pace.ended:
        found.append(pace.now())
        pace.step += 1
    return found


def test_a_course_warms_up_over_a_tenth_and_falls_to_the_last_step() -> None:
    rates = course(Pace(1.0, 20, fixed=True))
    assert len(rates) == 20
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[1:]))
    assert rates[-1] == pytest.approx(1 / 18)
    assert min(rates) > 0


def test_a_goal_ends_it_after_settling_and_only_where_one_is_waited_for() -> None:
    pace = Pace(1.0, 1000)
    pace.step = 200
    before = pace.now()
    pace.goal_reached()
    assert pace.now() <= before
    pace.goal_reached()  # once is enough
    rest = course(pace)
    assert len(rest) == math.ceil(SETTLE * 200) < 800
    assert all(later < earlier for earlier, later in itertools.pairwise(rest))
    assert pace.reached
    fixed = Pace(1.0, 100, fixed=True)
    fixed.step = 50
    fixed.goal_reached()
    assert len(course(fixed)) == 50
    assert not fixed.reached


def test_a_budget_shortens_and_never_lengthens() -> None:
    pace = Pace(1.0, 100)
    pace.at_most(200)
    assert pace.steps == 100
    pace.step = 40
    pace.at_most(45)
    assert len(course(pace)) == 5
    assert [default_steps(n, 16) for n in (4, 400, 10**6)] == [60, 300, 1000]


def test_a_pace_goes_on_from_its_state() -> None:
    pace = Pace(0.3, 60)
    pace.step = 30
    pace.goal_reached()
    other = Pace(0.3, 60)
    other.load_state_dict(pace.state_dict())
    assert course(other) == course(pace) != []


# Balance


def seen(retain_excess: float, progress: float | None) -> Check:
    return Check(1.0, 1.0, False, None, progress, retain_excess)


def test_the_balance_yields_to_damage_gains_when_behind_and_keeps_within_its_limits() -> None:
    balance = Balance(0.2, 0.03)
    balance.observe(seen(0.02, 1.0), 0.5)
    assert balance.weight == 0.2
    balance.observe(seen(0.02, 0.0), 0.9)
    gained = balance.weight
    assert gained > 0.2
    balance.observe(seen(0.04, 0.0), 0.9)  # damage counts first
    assert balance.weight < gained
    for _ in range(50):
        balance.observe(seen(0.5, 0.0), 0.9)
    low = balance.weight
    for _ in range(50):
        balance.observe(seen(0.0, 0.0), 0.9)
    assert (low, balance.weight) == pytest.approx((0.2 / balance.limit, 0.2 * balance.limit))
    other = Balance(0.7, 0.03)
    other.load_state_dict(balance.state_dict())
    other.observe(seen(0.5, 0.0), 0.9)
    balance.observe(seen(0.5, 0.0), 0.9)
    assert other.weight == balance.weight


def test_a_band_that_opens_wider_forgives_early_what_it_does_not_late() -> None:
    weights = []
    for elapsed in (0.1, 0.9):
        balance = Balance(0.2, 0.01, opening=3.0)
        balance.observe(seen(0.02, 1.0), elapsed)
        weights.append(balance.weight)
    assert weights[0] == 0.2
    assert weights[1] < 0.2


# Levels and goals


def test_levels_are_quantiles_dealt_by_rank() -> None:
    unseen = np.array([9.0, 1.0, 5.0, 3.0, 7.0])
    levels = deal(("a", "b", "c", "d", "e"), np.array([0.5, 0.1, 0.4, 0.2, 0.3]), unseen, "holdout")
    by_hand = {i: float(np.quantile(unseen, q)) for i, q in zip("bdeca", (0.1, 0.3, 0.5, 0.7, 0.9))}
    assert levels.by_id == pytest.approx(by_hand)
    assert sorted(levels.by_id, key=levels.by_id.__getitem__) == list("bdeca")  # hard examples stay hard
    shifted = deal(("a", "b"), np.array([1.0, 2.0]), np.array([0.5, 3.0]), "holdout", shift=-1.0)
    assert shifted.by_id["a"] == pytest.approx(0.125)
    assert deal(("a",), np.array([1.0]), np.array([0.5]), "holdout", shift=-1.0).by_id == {"a": 0.0}  # no loss is < 0
    many = np.random.default_rng(0).exponential(3, 400)
    dealt = deal(tuple(map(str, range(100))), np.arange(100.0), many, "holdout")
    assert agreement(np.array(list(dealt.by_id.values())), many) > 0.99


def test_a_level_goal_counts_the_way_and_ends_where_distributions_agree() -> None:
    ids = tuple("abcdefgh")
    target = np.linspace(2, 5, 8)
    start = np.full(8, 0.1)
    goal = LevelGoal(Levels(dict(zip(ids, target.tolist())), "holdout"), ids, start)
    assert goal.progress(start) == 0
    assert goal.progress(target) == 1
    assert goal.progress((start + target) / 2) == pytest.approx(0.5)
    assert goal.progress(2 * target - start) == pytest.approx(0)  # as far beyond as it was below
    assert not goal.reached(start)
    assert goal.reached(target + 0.05)
    assert goal.agreement(target[::-1]) == 1
    assert not goal.reached(target[::-1])  # the right distribution, but of the wrong examples
    assert not goal.reached(target + 4)  # over-forgetting is not the goal either


def test_a_removal_goal_ends_at_chance() -> None:
    removed = torch.tensor([False, True, False, False])
    goal = RemovalGoal(removed, 0.25, np.array([1.0, 1.0, 1.0, 0.0]))
    logits = torch.tensor([[0.0, 2.0, 0, 0], [3.0, 2, 0, 0]])
    rows = Rows(logits, torch.tensor([1, 1]), torch.tensor([0, 1]), ("a", "b"))
    assert goal.facts(rows).tolist() == [1, 0]
    assert goal.progress(goal.start) == 0
    assert goal.progress(np.array([1.0, 0, 0, 0])) == pytest.approx(1)
    assert goal.reached(np.array([1.0, 0, 0, 0]))
    assert not goal.reached(np.array([1.0, 1, 0, 0]))
    assert goal.agreement(goal.start) is None


# Checks


def test_two_checks_running_finish_a_task_and_the_first_is_the_start(ranks: Processes) -> None:
    task = make_task(llama(), ranks)
    ids = task.data["forget"].ids
    watched = Draw(task.data["forget"], (0, 1, 2, 3))
    now = task.facts(watched)
    task.goal = LevelGoal(Levels(dict(zip(ids, (now + 1e-4).tolist())), "holdout"), ids, now - 1)
    first = task.check()
    assert first.reached
    assert first.retain_excess == 0
    assert not task.finished
    state = task.state_dict()
    with torch.no_grad():
        for parameter in task.parameters.values():
            parameter.mul_(3.0)
    worse = task.check()
    assert not worse.reached
    room = task.chance - first.retain_loss
    assert worse.retain_excess == pytest.approx((worse.retain_loss - first.retain_loss) / max(room, 1e-6))
    task.load_state_dict(state)
    task.goal = LevelGoal(Levels(dict(zip(ids, task.facts(watched).tolist())), "holdout"), ids, now - 1)
    assert task.check().reached
    assert task.finished


def test_what_is_watched_is_drawn_by_seed_in_order() -> None:
    assert choose([5, 3, 9], 3, 0) == [5, 3, 9]
    some = choose(range(100), 10, 4)
    assert some == sorted(some)
    assert len(set(some)) == 10
    assert some == choose(range(100), 10, 4) != choose(range(100), 10, 5)


def test_ofmu_refuses_tasks_that_it_cannot_do(ranks: Processes) -> None:
    text, image = make_task(llama(), ranks), make_task(convnet(), ranks, modality="image")
    OFMU().check(text)
    with pytest.raises(InputError, match="removal"):
        OFMU(objective=Objective(name="removal")).check(text)
    image.levels = None
    with pytest.raises(InputError, match="use removal"):
        OFMU(objective=Objective(name="level")).check(image)
    text.processes.world = 2
    with pytest.raises(InputError, match="one process only; use finite_difference"):
        OFMU(preset="paper").check(text)
    text.processes.world = 1
    OFMU(preset="paper").check(text)
