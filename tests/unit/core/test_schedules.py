"""What every schedule of ρ promises, on each of them; and what each does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
import torch

from ofmu.core import Adaptive, Constant, Geometric, Polynomial, Problem, Schedule, Seen, SolveOptions, solve
from ofmu.core.options import SCHEDULES
from ofmu.errors import InputError

EVERY: dict[str, Callable[[float], Schedule]] = {
    "constant": Constant,
    "geometric": lambda start: Geometric(start, 1.5, 4.0),
    "geometric without a ceiling": lambda start: Geometric(start, 1.5),
    "polynomial": lambda start: Polynomial(start, 0.7, 4.0),
    "polynomial without a ceiling": lambda start: Polynomial(start, 2.0),
    "adaptive": lambda start: Adaptive(start, 1.5, smallest=0.01, largest=4.0),
    "adaptive without a ceiling": lambda start: Adaptive(start, 1.5),
}
COURSE = [
    Seen(residual, kappa, change)
    for residual, kappa, change in [
        (2.0, -1.0, 0.1),
        (1.9, -1.0, 0.1),
        (1.8, -0.2, 0.1),
        (0.5, -0.2, 0.1),
        (0.5, 0.3, 0.1),
        (0.5, None, 0.0),
        (0.5, -0.1, -0.1),
        (0.5, -0.1, 0.1),
    ]
]
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


@every
def test_weights_are_finite_never_negative_and_change_by_observation_alone(make: Callable[[float], Schedule]) -> None:
    schedule = make(0.5)
    assert schedule.rho(0) == 0.5
    for seen in COURSE * 20:
        for k in (0, 1, 7, 10**4, 10**8):
            assert 0 < schedule.rho(k) < math.inf
            assert schedule.rho(k) == schedule.rho(k)
        schedule.observe(seen)
    ceiling = getattr(schedule, "largest", None)
    assert ceiling is None or all(schedule.rho(k) <= ceiling for k in (0, 1, 7, 10**8))


@every
def test_no_penalty_stays_none(make: Callable[[float], Schedule]) -> None:
    schedule = make(0.0)
    for seen in COURSE:
        assert [schedule.rho(k) for k in (0, 1, 10**8)] == [0, 0, 0]
        schedule.observe(seen)


@every
def test_a_saved_schedule_goes_on_where_it_was(make: Callable[[float], Schedule]) -> None:
    whole, first, second = make(0.5), make(0.5), make(0.5)
    for k, seen in enumerate(COURSE):
        if k == 4:
            second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        going = first if k < 4 else second
        assert going.rho(k) == whole.rho(k)
        whole.observe(seen)
        going.observe(seen)
    assert second.rho(9) == whole.rho(9)


@every
def test_a_negative_start_is_refused(make: Callable[[float], Schedule]) -> None:
    with pytest.raises(InputError, match="start is -1"):
        make(-1.0)


@every
def test_with_each_a_concave_inner_problem_becomes_stationary(make: Callable[[float], Schedule]) -> None:
    """Φ = −½‖A^½θ‖², L_r = 0, with the stability cap on. Not in every round: λ̂ is the curvature along w alone."""
    curvatures = torch.tensor([0.2, 1.0], dtype=torch.float64)
    p = {"x": torch.ones(2, dtype=torch.float64, requires_grad=True)}
    problem = Problem(p, lambda: -(curvatures * p["x"] ** 2).sum() / 2, lambda: 0 * p["x"].sum())
    options = SolveOptions(rounds=60, outer_lr=0.3, lambda_eff=0.5, beta=0, scale="raw", schedule=make(0.5))
    norms = [round.norm_phi for round in solve(problem, options)]
    assert max(norms[30:]) < norms[0] / 5
    assert norms[-1] < min(norms[:10])


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_name_is_a_rule_that_begins_at_rho(name: str) -> None:
    schedule = SolveOptions(rho=0.3, rho_growth=2.0, max_rho=5.0, schedule=name).rho_schedule()
    assert schedule.rho(0) == 0.3
    assert schedule.rho(10**6) == {"constant": 0.3, "geometric": 5.0, "polynomial": 5.0, "adaptive": 0.3}[name]


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(InputError, match="geometric"):
        SolveOptions(schedule="geometrc").rho_schedule()


def test_adaptive_weights_by_hand() -> None:
    """(52): stalled and κ < 0: up; κ > 0, or L_f fell in the outer step: down; fell by 10 %: as before."""
    schedule = Adaptive(0.5, 1.5)
    weights = []
    for seen in COURSE:
        schedule.observe(seen)
        weights.append(schedule.rho(0))
    up = 1.5
    assert weights == pytest.approx([0.5, 0.5 * up, 0.5 * up**2, 0.5 * up**2, 0.5 * up, 0.5 * up, 0.5, 0.5 * up])
    bounded = Adaptive(0.5, 10.0, smallest=0.2, largest=0.6)
    bounded.observe(Seen(1.0, 1.0, 0.0))
    assert bounded.rho(0) == 0.2
    for _ in range(2):
        bounded.observe(Seen(1.0, -1.0, 0.0))
    assert bounded.rho(0) == 0.6


def test_a_geometric_schedule_with_matched_steps_comes_to_rest_after_a_finite_way_and_a_polynomial_does_not() -> None:
    """(33), (54): Σ η_k ≤ η_0 γ/(γ − 1) whatever the number of rounds, and the way is at most max ‖d‖ times that.

    ∇L_r is 1 everywhere and Φ is flat, so that θ goes exactly as far as the steps add up.
    """

    def way(rounds: int, **schedule: str | float) -> float:
        x = torch.zeros((), dtype=torch.float64, requires_grad=True)
        problem = Problem({"x": x}, lambda: 0 * x, lambda: -x)
        options = SolveOptions(
            rounds=rounds, outer_lr=0.1, lambda_eff=0.5, beta=0, rho=0.5, scale="raw", matched=True, **schedule
        )  # pyright: ignore[reportArgumentType]
        assert len(list(solve(problem, options))) == rounds
        return float(x.detach())

    limit = 0.1 * 1.05 / 0.05
    geometric = [way(rounds, schedule="geometric", rho_growth=1.05) for rounds in (100, 400)]
    assert geometric[0] < geometric[1] < limit
    assert geometric[1] == pytest.approx(limit, rel=1e-6)
    polynomial = [way(rounds, schedule="polynomial", rho_power=1.0) for rounds in (100, 400)]
    assert polynomial[1] - polynomial[0] == pytest.approx(0.1 * math.log(4), rel=0.01)  # the harmonic sum
