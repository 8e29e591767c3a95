"""The balance that a priority asks for, against first-order changes of both losses."""

from __future__ import annotations

import math

import pytest
import torch

from ofmu.core.vector import Vector
from ofmu.engine.checks import Check
from ofmu.engine.rounds.priority import LIMIT, Priority, wanted
from ofmu.errors import InputError


def vectors(cosine: float, a: float = 3.0, b: float = 2.0) -> tuple[Vector, Vector]:
    """w and g_r of these norms at this cosine."""
    w = torch.tensor([a, 0.0], dtype=torch.float64)
    return Vector(x=w), Vector(x=torch.tensor([b * cosine, b * math.sqrt(1 - cosine**2)], dtype=torch.float64))


def seen(progress: float | None, excess: float) -> Check:
    return Check(0.0, 0.0, False, None, progress, excess)


def rates(weight: float, w: Vector, g_r: Vector) -> tuple[float, float]:
    """First-order change of Φ and of L_r along −d, d = g_r − λw."""
    d = g_r.plus(w, -weight)
    return -float(d.dot(w)), -float(d.dot(g_r))


@pytest.mark.parametrize("cosine", [-0.9, 0.0, 0.4, 0.8])
@pytest.mark.parametrize("left", [1.0, 0.25])
def test_forget_first_keeps_the_rate_of_the_base_whatever_the_outer_step_undoes(cosine: float, left: float) -> None:
    w, g_r = vectors(cosine)
    priority = Priority("forget", 0.02)
    priority.observe(seen(1 - left, 0.5))
    found = priority.weight(0.2, w, g_r)
    assert found.lambda_eff == found.forget
    rise, _ = rates(found.lambda_eff, w, g_r)
    asked = 0.2 * left * 9.0
    assert rise == pytest.approx(asked) if found.lambda_eff > 0 else rise >= asked


@pytest.mark.parametrize("cosine", [0.2, 0.8, 0.95])
def test_retain_first_lets_the_retain_loss_not_rise_and_yields_as_the_band_is_used(cosine: float) -> None:
    w, g_r = vectors(cosine)
    priority, weights = Priority("retain", 0.02), []
    for excess in (0.0, 0.01, 0.02, 0.2):
        priority.observe(seen(0.5, excess))
        found = priority.weight(2.0, w, g_r)
        _, fall = rates(found.lambda_eff, w, g_r)
        assert fall <= 1e-12
        assert found.lambda_eff <= 2.0
        weights.append(found.lambda_eff)
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] < weights[0] / 3


@pytest.mark.parametrize("base", [1e-3, 0.5, 50.0])
@pytest.mark.parametrize("cosine", [-0.5, 0.3, 0.9])
def test_balanced_lets_no_side_lose(base: float, cosine: float) -> None:
    w, g_r = vectors(cosine)
    weight = Priority("balanced", 0.02).weight(base, w, g_r).lambda_eff
    if cosine <= 0:
        assert weight == base
    elif weight < LIMIT * base:
        rise, change = rates(weight, w, g_r)
        assert rise >= -1e-9
        assert change <= 1e-9


def test_a_ratio_is_that_of_the_two_pulls() -> None:
    w, g_r = vectors(0.3, a=4.0, b=2.0)
    assert Priority(0.5, 0.02).weight(1.0, w, g_r).lambda_eff == pytest.approx(0.25)


def test_a_ratio_may_change_by_the_same_factor_in_equal_times() -> None:
    w, g_r = vectors(0.3)
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    weights = [Priority(wanted("from 2 to .5"), 0.02).weight(100.0, w, g_r, share).lambda_eff for share in shares]
    assert weights == pytest.approx([weights[0] * 4**-share for share in shares])
    assert weights[0] == pytest.approx(Priority(2.0, 0.02).weight(100.0, w, g_r).lambda_eff)


def test_without_priority_or_gradient_the_base_holds() -> None:
    w, g_r = vectors(0.3)
    assert Priority("none", 0.02).weight(0.2, w, g_r).lambda_eff == 0.2
    assert Priority("forget", 0.02).weight(0.2, w, None).lambda_eff == 0.2
    assert Priority("balanced", 0.02).weight(0.2, w * 0.0, g_r).lambda_eff == 0.2


def test_state_goes_on() -> None:
    w, g_r = vectors(0.8)
    one, other = Priority("retain", 0.02), Priority("retain", 0.02)
    one.observe(seen(0.3, 0.015))
    other.load_state_dict(one.state_dict())
    assert one.weight(0.5, w, g_r) == other.weight(0.5, w, g_r)


def looked(forget: float, retain: float) -> Check:
    return Check(forget, retain, False, None, 0.0, 0.0)


@pytest.mark.parametrize(
    ("sentence", "retain_losses"),
    [("retain loss may rise by at most 2 %", (2.0, 2.02)), ("retain loss may rise by at most 0.5 nats", (2.0, 2.25))],
)
def test_a_tolerated_rise_of_the_retain_loss_is_the_band(sentence: str, retain_losses: tuple[float, float]) -> None:
    w, g_r = vectors(0.8)
    told, plain = Priority(wanted(sentence), 0.02), Priority("retain", 0.02)
    for loss in retain_losses:
        told.observe(looked(1.0, loss))
    plain.observe(seen(0.0, 0.01))  # half of the band is used
    expected, found = plain.weight(2.0, w, g_r), told.weight(2.0, w, g_r)
    assert found.lambda_eff == pytest.approx(expected.lambda_eff)
    assert found.retain == pytest.approx(expected.retain)


def test_a_forget_loss_as_target() -> None:
    w, g_r = vectors(0.4)
    told = Priority(wanted("forget to a loss of 3"), 0.02)
    asked = []
    for loss in (1.0, 2.0, 3.0, 4.0):
        told.observe(looked(loss, 0.0))
        rise, _ = rates(told.weight(0.2, w, g_r).lambda_eff, w, g_r)
        asked.append(rise)
    assert asked == pytest.approx([0.2 * 9, 0.1 * 9, 0.0, 0.0], abs=1e-9)
    level, word = Priority(wanted("forget to the holdout's level"), 0.02), Priority("forget", 0.02)
    for one in (level, word):
        one.observe(seen(0.3, 0.0))
    assert level.weight(0.2, w, g_r) == word.weight(0.2, w, g_r)


@pytest.mark.parametrize(
    "text", ["forget everything", "from 0 to 2", "from 2", "retain loss may rise by at most 0 %", "-1", "nan"]
)
def test_other_sentences_are_refused_with_those_that_are_known(text: str) -> None:
    with pytest.raises(InputError, match="retain loss may rise by at most 2 %"):
        wanted(text)
