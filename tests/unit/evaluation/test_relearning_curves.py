from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.evaluation.attack import figure, recovery
from ofmu.evaluation.relearning_curves import area, headline, relearning_gap, steps_to_half

STEPS = [0, 1, 2, 4, 8, 16]
RETRAINED = [5.62, 5.43, 5.37, 5.24, 5.28, 5.46]
UNLEARNED = [5.74, 4.40, 3.57, 3.11, 3.00, 3.08]
"""Published figures of a small model: loss of the other forgotten authors after so many steps."""

curves = st.lists(st.floats(0, 10), min_size=len(STEPS), max_size=len(STEPS))


def slow_area(steps: list[int], u: list[float], r: list[float]) -> float:
    total = 0.0
    for k in range(len(steps) - 1):
        width = math.log2(1 + steps[k + 1]) - math.log2(1 + steps[k])
        total += width * ((u[k] - r[k]) + (u[k + 1] - r[k + 1])) / 2
    return total


def test_the_area_by_hand():
    # x = 0, 1, 2: differences 0, -1, -1 → -.5 - 1
    assert area([0, 1, 3], [2, 1, 1], [2, 2, 2]) == -1.5
    assert math.isclose(area(STEPS, UNLEARNED, RETRAINED), slow_area(STEPS, UNLEARNED, RETRAINED))
    assert area(STEPS, UNLEARNED, RETRAINED) == pytest.approx(-6.739, abs=0.001)


def test_half_is_back_at_the_first_step_that_has_it():
    assert steps_to_half([0, 1, 2, 4], [5, 4, 2.9, 2], 0, 6) == 2
    assert steps_to_half([0, 1, 2, 4], [5, 4, 3.1, 3.01], 0, 6) is None
    assert steps_to_half(STEPS, UNLEARNED, 0.08, 5.62) is None  # the best of them is .473 of the way
    assert steps_to_half([0, 1], [1, 1], 3, 3) is None


def test_recovery_is_the_share_of_what_was_lost():
    assert recovery(0.5, 0.2, 0.8) == pytest.approx(0.5)
    assert recovery(0.2, 0.2, 0.8) == 0
    assert recovery(0.5, 0.2, 0.2) is None
    assert recovery(None, 0.2, 0.8) is None


def test_a_share_of_noise_is_no_recovery():
    assert recovery(0.5, 0.2, 0.8, retrained=0.79) is None
    assert recovery(0.5, 0.79, 0.8, retrained=0.2) is None
    assert recovery(2.0, 4.0, 0.1, retrained=3.0) == pytest.approx(2 / 3.9)
    before, after = {"original": 0.97, "unlearned": 0.95, "retrained": 0.9}, {"unlearned": 0.91, "retrained": 0.85}
    found = figure("int4", "forget_probability", before, after)
    assert (found.recovery, found.gap) == (None, pytest.approx(0.06))
    assert "differs by less than 5 %" in str(found.reason)


@pytest.mark.parametrize("name", ["retain_probability", "test_accuracy", "holdout_probability"])
def test_nothing_that_was_kept_is_recovered(name: str):
    before, after = {"original": 0.9, "unlearned": 0.5, "retrained": 0.2}, {"unlearned": 0.8, "retrained": 0.3}
    found = figure("int4", name, before, after)
    assert (found.recovery, found.reason) == (None, None)
    assert figure("int4", "forget_probability", before, after).recovery == pytest.approx(0.75)


def test_a_figure_says_why_something_is_missing():
    both = figure(
        "int4", "p", {"unlearned": 0.1, "original": 0.9}, {"unlearned": 0.3, "retrained": 0.1, "retrained-2": 0.2}
    )
    assert both.gap == pytest.approx(0.15)
    assert both.recovery == pytest.approx(0.25)
    assert both.reason is None
    alone = figure("int4", "p", {"unlearned": 0.1}, {"unlearned": 0.3})
    assert (alone.gap, alone.recovery) == (None, None)
    assert alone.reason == "no retrained model: nothing can be compared with retraining; no original model"


def test_the_gap_by_hand():
    # shares 0, .5, .5 at x = 0, 1, 2: (.25 + .5) / 2
    assert relearning_gap([0, 1, 3], np.array([6, 3, 3.0]), np.array([6, 6, 6.0]), 0.0, 6.0) == 0.375
    # past the retrained model at first: no credit for it
    assert relearning_gap([0, 1, 3], np.array([9, 9, 3.0]), np.array([6, 6, 6.0]), 0.0, 6.0) == 0.125
    gap = relearning_gap(STEPS, np.array(UNLEARNED), np.array(RETRAINED), 0.08, 5.62)
    assert gap == pytest.approx(0.3002, abs=0.0001)


@given(u=curves, r=curves)
def test_the_area_turns_with_its_sides_and_the_gap_stays_in_its_range(u: list[float], r: list[float]):
    assert area(STEPS, r, r) == 0
    assert area(STEPS, u, r) == pytest.approx(-area(STEPS, r, u))
    assert area(STEPS, u, r) == pytest.approx(slow_area(STEPS, u, r))
    gap = relearning_gap(STEPS, np.array(u), np.array(r), 0.1, 7.0)
    assert 0 <= gap <= 1
    assert relearning_gap(STEPS, np.array(r), np.array(r), 0.1, 7.0) == 0
    lower = relearning_gap(STEPS, np.array(u) - 1, np.array(r), 0.1, 7.0)
    assert lower >= gap - 1e-12  # knowing more is never better


def curve(role: str, loss: list[float | None], *, clusters: int = 10, seed: int = 0) -> dict:
    """The same course in every cluster of four examples, each a little apart from the next."""
    by = {f"c{k}": [4, [None if value is None else 4 * (value + 0.01 * k) for value in loss]] for k in range(clusters)}
    setting = {"taught": "cluster", "rate": 0.02, "steps": [0, 1, 3]}
    return {"role": role, "seed": seed, **setting, "loss": loss, "by_cluster": by}


def test_the_headline_pools_clusters_and_has_an_interval():
    curves = [curve("unlearned", [6, 3, 3]), curve("retrained", [6, 6, 6]), curve("original", [0, 0, 0])]
    found = headline(curves)
    assert found["value"] == pytest.approx(0.375)
    assert found["interval"] == pytest.approx((0.375, 0.375))
    assert found["parts"] == [{"taught": "cluster", "rate": 0.02, "value": pytest.approx(0.375), "reason": None}]
    second = [curve(c["role"], c["loss"] if c["role"] != "unlearned" else [6, 6, 6], seed=1) for c in curves]
    assert headline(curves + second)["value"] == pytest.approx(0.375 / 2)  # the mean over seeds
    worse = [{**c, "taught": "5%"} for c in second] + curves
    assert headline(worse)["value"] == pytest.approx(0.375)  # the largest over what is taught


def test_the_headline_says_what_it_lacks():
    u, r, o = curve("unlearned", [6, 3, 3]), curve("retrained", [6, 6, 6]), curve("original", [0, 0, 0])
    assert headline([u, o])["reason"] == "no retrained model"
    assert headline([u])["reason"] == "no retrained and no original model"
    few = headline([curve(c["role"], c["loss"], clusters=7) for c in (u, r, o)])
    assert few["value"] == pytest.approx(0.375)
    assert few["interval"] is None
    assert few["reason"] == "fewer than 8 clusters: no interval"
    broken = headline([curve("unlearned", [6, None, 3]), r, o])
    assert broken["value"] is None
    assert "a loss is not finite" in broken["reason"]
    same = headline([curve("unlearned", [6, 6, 6]), r, curve("original", [6, 6, 6])])
    assert same["value"] is None
