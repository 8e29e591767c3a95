"""T21: the cosine of noisy gradients is biased to 0, and the estimates are not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ofmu.core.vector import Vector
from ofmu.engine.objective import Objective
from ofmu.engine.processes import Processes, processes
from ofmu.engine.rounds.conflict import Moving, Side, debiased_cosine
from ofmu.engine.rounds.losses import Losses
from ofmu.engine.rounds.sample import Sample
from ofmu.losses import nll
from ofmu.methods.ofmu import OFMU
from smooth import Smooth, smooth
from tasks import make_task

SIZE, TRUE = 20_000, 0.6


@pytest.fixture
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


@pytest.fixture
def sample(ranks: Processes) -> Sample:
    return Sample(make_task(smooth(), ranks, modality="image"))


def signals(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two unit vectors at a cosine of .6."""
    u, v = (torch.randn(SIZE, generator=draw, dtype=torch.float64) for _ in range(2))
    u /= u.norm()
    v -= u * (u @ v)
    return u, TRUE * u + math.sqrt(1 - TRUE**2) * v / v.norm()


@pytest.mark.parametrize(("noise", "biased"), [(0.5, 0.48), (1.0, 0.30), (2.0, 0.12), (4.0, 0.04)])
def test_noise_hides_a_conflict_from_one_batch_and_not_from_two_halves(noise: float, biased: float) -> None:
    """T21. Noise of a batch has the norm `noise`, that of each half √2 times it."""
    draw = torch.Generator().manual_seed(0)
    u, v = signals(draw)
    plain, cross, forget, retain = 0.0, 0.0, 0.0, 0.0
    rounds = 200
    for _ in range(rounds):
        halves = [
            x + noise * math.sqrt(2 / SIZE) * torch.randn(2, SIZE, generator=draw, dtype=torch.float64) for x in (u, v)
        ]
        g_f, g_r = (half.mean(0) for half in halves)
        plain += float(g_f @ g_r / (g_f.norm() * g_r.norm())) / rounds
        cross += float(g_f @ g_r)
        forget, retain = (total + float(a @ b) for total, (a, b) in zip((forget, retain), halves))
    assert plain == pytest.approx(biased, abs=0.015)
    assert debiased_cosine(cross, forget, retain) == pytest.approx(TRUE, abs=0.02)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("growth", [1.0, 1.1])
def test_moving_means_see_through_the_noise_while_norms_grow(noise: float, growth: float, sample: Sample) -> None:
    draw = torch.Generator().manual_seed(1)
    u, v = signals(draw)
    moving, found = Moving(sample), []
    for k in range(120):
        for side, x in (("forget", u * growth**k), ("retain", v)):
            noisy = x + noise * float(x.norm()) * torch.randn(SIZE, generator=draw, dtype=torch.float64) / SIZE**0.5
            moving.see(side, Vector(x=noisy))  # pyright: ignore[reportArgumentType]
        estimate = moving.cosine()
        if k > 20:
            found.append(estimate)
    assert None not in found
    assert sum(found) / len(found) == pytest.approx(TRUE, abs=0.03 if growth == 1 else 0.12)


def test_where_noise_hides_a_gradient_altogether_nothing_is_claimed() -> None:
    assert debiased_cosine(0.1, -0.01, 1.0) is None
    assert debiased_cosine(0.1, 1.0, 0.0) is None


def leaning() -> Smooth:
    """It leans to one class, so that the gradients of all examples have much in common."""
    model = smooth()
    with torch.no_grad():
        model.head.bias[3] += 5
    return model


@pytest.mark.parametrize("part_size", [5, 2, 1])
def test_halves_are_those_of_the_batch_itself(
    part_size: int, ranks: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five examples in one part, in three, in five: the same ratio as from gradients computed apart."""
    method = OFMU(debias="halves", similarity="none", balance="fixed", optimiser="sgd", objective=Objective(name="nll"))
    task = make_task(leaning(), ranks, modality="image", method=method, part_size=part_size, learning_rate=1e-9)
    process, estimates = method.start(task), []
    conflict = process._conflict  # pyright: ignore[reportAttributeAccessIssue]
    estimate = conflict.cosine
    monkeypatch.setattr(conflict, "cosine", lambda: estimates.append(estimate()) or estimates[-1])
    recorded = process.step().more["similarity_debiased"]
    (found,) = estimates

    other = make_task(leaning(), ranks, modality="image", part_size=5)
    losses = Losses(other, lambda rows, _: nll(rows), "tokens")
    pair = losses.draw()
    halves: dict[Side, list[Vector]] = {}
    sizes: list[tuple[Side, Any]] = [("forget", pair.forget), ("retain", pair.retain)]
    for side, loss in sizes:
        indices = loss.draw.indices
        cut = {5: 3, 2: 2, 1: 2}[part_size]  # of one part two are made, of three and two examples
        parts = (indices[:cut], indices[cut:])
        halves[side] = [
            other.derivatives().gradient(
                other.loss(lambda rows, _: nll(rows), type(loss.draw)(loss.draw.data, p), "tokens")
            )
            for p in parts
        ]
        halves[side].append((halves[side][0] * cut + halves[side][1] * (5 - cut)) / 5)
    (f1, f2, f), (r1, r2, r) = halves["forget"], halves["retain"]
    expected = debiased_cosine(float(f.dot(r)), float(f1.dot(f2)), float(r1.dot(r2)))
    assert expected is not None
    assert found == pytest.approx(expected, rel=1e-6)
    assert recorded == max(-1.0, min(found, 1.0))
    assert found != pytest.approx(float(f.dot(r) / (f.norm() * r.norm())), rel=1e-2)
