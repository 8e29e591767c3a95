"""`preset: paper` is the publication: its settings, and its rounds against naive automatic differentiation."""

from __future__ import annotations

import pytest

from ofmu.engine.processes import processes
from ofmu.methods.ofmu import OFMU
from reference.algorithm import flat_of, on_flat, published
from reference.dense import Flat
from smooth import smooth
from tasks import make_task, sets

RATE = 0.3


def test_it_has_what_the_paper_has_and_nothing_of_ours() -> None:
    s = OFMU(preset="paper").settings()
    assert (s.objective.name, s.similarity, s.scale) == ("nll", "cosine", "raw")
    assert (s.base, s.optimiser, s.derivatives, s.penalty_derivatives) == ("sequential", "sgd", "exact", "same")
    assert 5 <= s.inner_steps <= 10
    assert s.outer_steps == 1
    assert s.rho > 0
    assert s.rho_growth > 1
    assert s.rho_schedule == "geometric"
    assert s.beta > 0
    ours = (s.guard, s.rho_cap, s.undo_cap, s.rho_matched, s.trust_region, s.sam_radius, s.adversary_steps)
    assert not any(ours)
    assert (s.balance, s.priority, s.blocks, s.step) == ("fixed", "none", "whole", "full")
    assert (s.retain_direction, s.refresh_every, s.retain_curvature) == ("fresh", 1, True)
    assert (s.curvature_share, s.penalty_batches) == (1.0, 1)


def flat_losses() -> list[Flat]:
    """L_f and L_r of the smooth classifier on its whole sets."""
    found = [data.batch(range(len(data))) for data in (sets("image")["forget"], sets("image")["retain"])]
    return [on_flat(smooth(), batch.pixel_values, batch.labels) for batch in found]


@pytest.mark.parametrize("growth", [None, 3.0])
def test_its_rounds_are_the_published_ones(growth: float | None) -> None:
    """Whole sets as batches, so that nothing is drawn; θ after each of three rounds, similarity and penalty at work."""
    method = OFMU(preset="paper", rho=0.4, beta=0.3, rho_growth=growth, lambda_eff=0.5)
    s = method.settings()
    start = flat_of(smooth())
    steps = {"inner_steps": s.inner_steps, "inner_lr": 0.5 * RATE / s.inner_steps, "outer_lr": RATE}
    expected = published(*flat_losses(), start, rounds=3, beta=0.3, rho=0.4, growth=s.rho_growth, **steps)
    bare = published(*flat_losses(), start, rounds=1, beta=0.0, rho=0.0, growth=1.0, **steps)
    assert float((bare[0] - expected[0]).norm()) > 1e-3 * float((expected[0] - start).norm()), "the terms do nothing"

    model, before = smooth(), start
    with processes(device="cpu", precision="fp32", parallel="auto") as ranks:
        task = make_task(model, ranks, modality="image", method=method, batch_size=9, part_size=9)
        task.pace.now = lambda: RATE  # pyright: ignore[reportAttributeAccessIssue] - one step size throughout
        process = method.start(task)
        for place in expected:
            process.step()
            task.pace.step += 1
            assert float((flat_of(model) - place).norm()) < 1e-9 * float((place - before).norm())
            before = place
