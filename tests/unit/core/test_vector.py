"""Vector arithmetic, schedules and the run record: small facts, exactly."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ofmu.core import Constant, Geometric, Problem, SolveOptions, Vector, solve
from ofmu.core.schedule import stability_cap
from ofmu.errors import InputError, RunError

NUMBERS = st.lists(st.integers(-99, 99), min_size=4, max_size=4)


def vector(numbers: list[int]) -> Vector:
    x = torch.tensor(numbers, dtype=torch.float32)
    return Vector(a=x[:3], b=x[3:].reshape(1, 1))


@given(NUMBERS, NUMBERS, st.integers(-9, 9))
def test_arithmetic_is_that_of_the_flat_vector(x: list[int], y: list[int], k: int) -> None:
    u, v = vector(x), vector(y)
    combined = u + k * v - v / 2 + -u.plus(v, torch.tensor(3.0))
    expected = [a + k * b - b / 2 - (a + 3 * b) for a, b in zip(x, y, strict=True)]
    assert torch.cat([t.flatten() for t in combined.values()]).tolist() == expected
    dot = u.dot(v)
    assert dot.dtype == torch.float64
    assert float(dot) == sum(a * b for a, b in zip(x, y, strict=True))
    w = u.clone().add_(v, 2.0).mul_(0.5)
    assert float((w - (u + 2 * v) * 0.5).norm()) == 0
    assert torch.equal(u["a"], vector(x)["a"])


def test_sums_are_taken_in_float64() -> None:
    many = Vector(a=torch.full((3_000_000,), 0.1), b=torch.tensor([1e4]))
    assert float(many.dot(many)) == pytest.approx(3e6 * float(torch.tensor(0.1)) ** 2 + 1e8, rel=1e-9)
    assert float(Vector(a=torch.full((70_000,), 1.0, dtype=torch.bfloat16)).norm()) == pytest.approx(70_000**0.5)
    assert not Vector(a=torch.tensor([math.nan])).is_finite()


def test_schedules() -> None:
    assert [Constant(0.3).rho(k) for k in (0, 9)] == [0.3, 0.3]
    assert [Geometric(0.1, 2.0).rho(k) for k in range(3)] == pytest.approx([0.1, 0.2, 0.4])
    assert Geometric(0.1, 2.0, 5.0).rho(10**9) == 5.0
    assert math.isfinite(Geometric(0.1, 2.0).rho(10**9))
    assert Geometric(0.0, 2.0).rho(10**9) == 0.0
    assert stability_cap(0.1, 2.0) == pytest.approx(1.25)
    assert stability_cap(0.1, 0.0) == math.inf
    with pytest.raises(InputError, match=r"growth is 0\.5"):
        Geometric(0.1, 0.5)


def test_a_run_moves_the_parameters_stops_when_stationary_and_says_when_it_diverged() -> None:
    p = {"x": torch.tensor([0.5, -0.2], dtype=torch.float64, requires_grad=True)}
    concave = Problem(p, lambda: -p["x"].square().sum(), lambda: (p["x"] - 1).square().sum())
    plain = {"outer_lr": 0.05, "lambda_eff": 3.0, "rho": 0.0, "beta": 0.0, "scale": "raw"}
    rounds = list(solve(concave, SolveOptions(rounds=200, **plain)))
    # a round maps x to 0.9 (1 − 2·0.03)⁵ x + 0.1
    assert p["x"].tolist() == pytest.approx([0.1 / (1 - 0.9 * 0.94**5)] * 2, rel=1e-12)
    assert [r.k for r in rounds] == list(range(200))
    with torch.no_grad():
        p["x"].copy_(torch.tensor([0.5, -0.2]))
    rounds = list(solve(concave, SolveOptions(rounds=200, **plain, stationary=0.84)))
    assert rounds[-1].norm_phi <= 0.84 < rounds[-2].norm_phi
    endless = Problem(p, lambda: p["x"].exp().sum() ** 3, lambda: 0 * p["x"].sum())
    with pytest.raises(RunError, match="forget gradient is not finite"):
        list(solve(endless, SolveOptions(rounds=500, outer_lr=1.0, lambda_eff=9.0, rho=0.0, beta=0.0)))
    with pytest.raises(InputError, match="inner_steps is 0, but must be >= 1"):
        SolveOptions(inner_steps=0)
