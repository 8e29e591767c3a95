"""Forgetting first (53): the direction keeps its promise, and is the nearest that does."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofmu.core import Priority, Problem, SolveOptions, Vector, solve
from ofmu.core.priority import multiplier, prioritised
from ofmu.errors import InputError


def vector(seed: int, size: int = 6) -> Vector:
    return Vector(a=torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0, 5), st.floats(-3, 3))
def test_phi_rises_at_least_as_fast_as_asked_and_not_faster_than_needed(seed: int, rise: float, lean: float) -> None:
    descent, w = vector(seed), vector(seed + 1)
    descent = descent.plus(w, lean)  # with and without conflict
    d, mu = prioritised(descent, w, rise)
    rate = -float(d.dot(w))
    assert rate >= rise - 1e-9
    assert mu >= 0
    if mu > 0:
        assert rate == pytest.approx(rise, abs=1e-9)
    else:
        assert d is descent


def test_no_other_direction_that_keeps_the_promise_is_nearer() -> None:
    descent, w, rise = vector(1), vector(2), 0.7
    d, _ = prioritised(descent, w, rise)
    nearest = float((d - descent).norm())
    for seed in range(200):
        other = d.plus(vector(seed + 10), 0.3)
        if -float(other.dot(w)) >= rise:
            assert float((other - descent).norm()) >= nearest


def test_without_a_gradient_of_phi_nothing_can_be_promised() -> None:
    assert multiplier(vector(1), vector(2) * 0.0, 1.0) == 0


@pytest.mark.parametrize("rho", [0.0, 0.1])
def test_phi_rises_to_its_target_in_every_round_and_then_stays(rho: float) -> None:
    """L_f = −½‖x − m‖² from far away; L_r pulls back to the start. The target is reached and held."""
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    m = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    problem = Problem({"x": x}, lambda: -((x - m) ** 2).sum() / 2, lambda: (x**2).sum() / 2)
    rate, alpha, target = 0.02, 1.5, -0.5
    options = SolveOptions(
        rounds=200, outer_lr=rate, beta=0, rho=rho, scale="raw", guard=False, priority=Priority(target, alpha)
    )
    rounds, places = [], [x.detach().clone()]
    for seen in solve(problem, options):
        rounds.append(seen)
        places.append(x.detach().clone())
    losses = [-float(((place - m) ** 2).sum()) / 2 for place in places]
    for k, (before, after) in enumerate(itertools.pairwise(losses)):
        bend = float(((places[k + 1] - places[k]) ** 2).sum()) / 2  # what is beyond first order, exactly
        assert after - before + bend >= rate * alpha * max(0.0, target - before) - 1e-12
    assert losses[-1] == pytest.approx(target, abs=0.02)
    assert all(seen.mu is not None and seen.inner_steps == 0 for seen in rounds)


def test_a_priority_has_one_step_a_round() -> None:
    with pytest.raises(InputError, match="one step"):
        SolveOptions(priority=Priority(1.0), outer_steps=2)
    with pytest.raises(InputError, match="rate is -1"):
        Priority(1.0, -1.0)
