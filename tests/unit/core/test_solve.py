"""Where the outer step starts, how many there are, how far the inner steps go, and how step sizes follow ρ."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ofmu.core import Problem, SolveOptions, solve
from ofmu.core.adaptive import Adaptive
from ofmu.core.priority import Priority
from ofmu.errors import InputError

PLAIN = {"beta": 0.0, "scale": "raw", "guard": False, "stable": False, "derivatives": "exact"}
H, S = torch.tensor([-0.7, 0.4], dtype=torch.float64), torch.tensor([0.5, 0.2], dtype=torch.float64)
START = torch.tensor([1.0, -2.0], dtype=torch.float64)


def modes() -> tuple[Problem, Tensor]:
    """L_f = ½Σhx², L_r = ½Σs(x−1)²."""
    x = START.clone().requires_grad_()
    return Problem({"x": x}, lambda: (H * x**2).sum() / 2, lambda: (S * (x - 1) ** 2).sum() / 2), x


def descent(x: Tensor, rho: float) -> Tensor:
    return S * (x - 1) + 2 * rho * H**2 * x


@pytest.mark.parametrize("outer_steps", [1, 3])
@pytest.mark.parametrize("base", ["sequential", "anchored"])
def test_rounds_by_hand(base: str, outer_steps: int) -> None:
    rho, eta_out, eta_in, steps, rounds = 0.3, 0.1, 0.05, 4, 3
    problem, found = modes()
    options = SolveOptions(
        rounds=rounds,
        inner_steps=steps,
        outer_steps=outer_steps,
        outer_lr=eta_out,
        lambda_eff=steps * eta_in / eta_out,
        rho=rho,
        base=base,  # pyright: ignore[reportArgumentType]
        **PLAIN,
    )
    x = START.clone()
    for _ in solve(problem, options):
        ascended = x
        for _ in range(steps):
            ascended = ascended + eta_in * H * ascended
        x = (x if base == "anchored" else ascended) - eta_out * descent(ascended, rho)
        for _ in range(1, outer_steps):
            x = x - eta_out * descent(x, rho)
        assert torch.allclose(found.detach(), x, rtol=1e-12, atol=0)


def test_the_literal_form_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="inner steps would have no effect"):
        SolveOptions(base="literal")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="did you mean 'anchored'"):
        SolveOptions(base="anchord")  # pyright: ignore[reportArgumentType]


def test_inner_steps_end_at_the_tolerance() -> None:
    x = torch.ones((), dtype=torch.float64, requires_grad=True)
    problem = Problem({"x": x}, lambda: -(x**2) / 2, lambda: 0 * x)
    common = {"rounds": 2, "inner_steps": 100, "outer_lr": 1.0, "lambda_eff": 50.0, "rho": 0.0}
    seen = list(solve(problem, SolveOptions(inner_tolerance=0.01, **common, **PLAIN)))
    assert [one.inner_steps for one in seen] == [7, 0]  # ½⁷ is the first power below a hundredth
    assert float(x.detach()) == 0.5**7


def test_a_run_ends_where_phi_is_stationary_only_if_it_is_told_to() -> None:
    """L_f = 0: ∇Φ is exactly 0 from the start, and L_r still has a way to go."""
    for stationary, rounds in ((0.0, 5), (1e-9, 1)):
        x = torch.ones((), dtype=torch.float64, requires_grad=True)
        problem = Problem({"x": x}, lambda x=x: 0 * x, lambda x=x: x**2)
        options = SolveOptions(rounds=5, stationary=stationary, outer_lr=0.1, lambda_eff=0.1, rho=0.0, **PLAIN)
        assert len(list(solve(problem, options))) == rounds


@pytest.mark.parametrize("schedule", ["geometric", "polynomial"])
def test_matched_steps_are_divided_by_the_growth_of_rho(schedule: str) -> None:
    problem, found = modes()
    common = {"inner_steps": 1, "outer_lr": 0.1, "lambda_eff": 0.5, "rho": 0.3}
    options = SolveOptions(rounds=4, schedule=schedule, rho_growth=2.0, rho_power=1.0, matched=True, **common, **PLAIN)
    x = START.clone()
    for k, _ in enumerate(solve(problem, options)):
        growth = 2.0**k if schedule == "geometric" else 1.0 + k
        x = x + 0.05 / growth * H * x
        x = x - 0.1 / growth * descent(x, 0.3 * growth)
        assert torch.allclose(found.detach(), x, rtol=1e-12, atol=0)
    with pytest.raises(InputError, match="raw scale"):
        SolveOptions(matched=True)


def test_an_adaptive_weight_reacts_to_what_the_outer_step_did() -> None:
    """Concave L_f (κ < 0), no progress towards stationarity: ρ rises; convex L_f (κ > 0): it falls."""
    for sign, up in ((-1.0, True), (1.0, False)):
        x = torch.ones((), dtype=torch.float64, requires_grad=True)
        problem = Problem({"x": x}, lambda x=x, sign=sign: sign * 0.1 * x**2 / 2, lambda x=x: 0 * x)
        options = SolveOptions(
            rounds=6, outer_lr=0.01, lambda_eff=0.1, rho=0.3, schedule="adaptive", rho_growth=2.0, **PLAIN
        )
        weights = [seen.rho for seen in solve(problem, options)]
        assert (weights[-1] > weights[0]) == up
        assert weights != sorted(weights, reverse=up)


def test_an_adaptive_weight_is_told_of_the_direction_that_was_taken() -> None:
    """∇F alone would lower L_f; the priority makes it rise, so that ρ need not fall."""
    x = torch.ones((), dtype=torch.float64, requires_grad=True)
    problem = Problem({"x": x}, lambda: -0.1 * x**2 / 2, lambda: -x)
    common = {"rounds": 4, "outer_lr": 1e-3, "rho": 0.3, "schedule": "adaptive", "rho_growth": 2.0, **PLAIN}
    weights = [seen.rho for seen in solve(problem, SolveOptions(priority=Priority(target=1.0), **common))]
    assert weights == [0.3, 0.3, 0.6, 1.2]


def test_options_with_a_schedule_serve_again_from_its_beginning() -> None:
    options = SolveOptions(rounds=4, schedule=Adaptive(0.3), outer_lr=0.01, **PLAIN)
    first, second = ([seen.rho for seen in solve(modes()[0], options)] for _ in range(2))
    assert first == second
    assert first[-1] != first[0]


def test_an_adaptive_schedule_without_a_factor_is_refused() -> None:
    with pytest.raises(InputError, match="by the factor rho_growth, which is 1"):
        SolveOptions(schedule="adaptive", rho=0.3)


@pytest.mark.parametrize("schedule", ["constant", "geometric", "polynomial", "adaptive"])
def test_a_rho_above_its_ceiling_is_refused(schedule: str) -> None:
    with pytest.raises(InputError, match="rho is 5, but must be <= 1"):
        SolveOptions(schedule=schedule, rho=5.0, max_rho=1.0)
    assert SolveOptions(schedule=Adaptive(0.1), rho=5.0, max_rho=1.0).rho_schedule().rho(0) == 0.1
