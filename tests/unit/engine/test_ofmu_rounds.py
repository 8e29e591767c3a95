"""A round of the engine on full batches is a round of :func:`ofmu.core.solve`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ofmu.core import Problem, SolveOptions, Vector, solve
from ofmu.engine.objective import Objective
from ofmu.engine.processes import Processes, processes
from ofmu.methods.ofmu import OFMU
from reference.algorithm import flat_of, on_flat
from reference.dense import gradient, nabla_phi
from smooth import smooth
from tasks import make_task, sets


@pytest.fixture
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


def whole_losses(model: torch.nn.Module) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """L_f and L_r of this model on the whole sets."""
    batches = (sets("image")[name] for name in ("forget", "retain"))
    whole = [found.batch(range(len(found))) for found in batches]
    forget, retain = (lambda batch=each: cross_entropy(model(batch.pixel_values), batch.labels) for each in whole)
    return forget, retain


@pytest.mark.parametrize("scale", ["raw", "relative"])
@pytest.mark.parametrize("similarity", ["cosine", "squared_hinge"])
def test_rounds_are_those_of_solve(similarity: str, scale: str, ranks: Processes) -> None:
    """T = 2, ρ > 0: β is found at the first inner step, and held to the outer step, in both."""
    model = smooth()
    other = copy.deepcopy(model)
    shared = {"beta": 0.4, "rho": 0.2, "similarity": similarity, "lambda_eff": 0.5, "scale": scale, "guard": True}
    shared |= {"derivatives": "exact", "inner_steps": 2}
    method = OFMU(**shared, preset="paper", objective=Objective(name="nll"), margin=0.0, rho_growth=1.0, rho_cap=True)
    task = make_task(model, ranks, modality="image", method=method, learning_rate=0.2, batch_size=9, part_size=9)
    process = method.start(task)

    parameters = dict(other.named_parameters())
    forget, retain = whole_losses(other)
    for _ in range(3):
        epsilon_of = process.state_dict()["scale"] if scale == "relative" else None
        options = SolveOptions(**shared, rounds=1, outer_lr=task.pace.now(), reference_scale=epsilon_of)
        (expected,) = solve(Problem(parameters, forget, retain), options)
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        found = process.step()
        task.pace.step += 1
        assert found.more["beta"] == pytest.approx(expected.beta, rel=1e-9)
        assert found.more["rho"] == pytest.approx(expected.rho, rel=1e-9)
        assert expected.rho > 0
        for name, value in model.named_parameters():
            assert not torch.equal(value, before[name])
            torch.testing.assert_close(value, parameters[name], rtol=1e-9, atol=1e-12)


BOTH: dict[str, Any] = {"beta": 0.4, "rho": 0.2, "similarity": "cosine", "lambda_eff": 0.5, "inner_steps": 3}

FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "anchored": ({"base": "anchored"}, {"base": "anchored"}),
    "augmented Lagrangian": (
        {"rho_schedule": "augmented_lagrangian", "rho_growth": None},
        {"multipliers": True, "schedule": "constant"},
    ),
    "polynomial, matched": (
        {"rho_schedule": "polynomial", "rho_power": 0.5, "rho_matched": True, "rho_growth": None},
        {"schedule": "polynomial", "rho_power": 0.5, "matched": True},
    ),
    "geometric": ({"rho_growth": 1.5, "rho_max": 0.4}, {"schedule": "geometric", "rho_growth": 1.5, "max_rho": 0.4}),
    "adaptive": (
        {"rho_schedule": "adaptive", "rho_growth": 2.0},
        {"schedule": "adaptive", "rho_growth": 2.0, "max_rho": 1e6},
    ),
    "undo cap": ({"undo_cap": True, "rho": 50.0}, {"keep": True, "rho": 50.0}),
    "stability cap": ({"rho_cap": True, "rho": 50.0}, {"stable": True, "rho": 50.0}),
    "guard": ({"guard": True}, {"guard": True}),
    "C4": ({"penalty_derivatives": "secant"}, {"penalty_derivatives": "secant"}),
    "C5": ({"refresh_every": 2}, {"refresh_every": 2}),
    "C6": ({"retain_curvature": False}, {"retain_curvature": False}),
    "C8": ({"step": "projected", "rho": None, "beta": None, "rho_growth": None}, {"step": "projected"}),
}
"""Options of the method beside the paper's → those of `solve`."""


@pytest.mark.parametrize("form", FORMS)
def test_every_form_runs_as_in_solve(form: str, ranks: Processes) -> None:
    """Three rounds of one run on whole sets: what lasts from round to round is the same too."""
    options, told = FORMS[form]
    model = smooth()
    other, rate, start = copy.deepcopy(model), 0.2, copy.deepcopy(model)
    method = OFMU(**{**BOTH, "preset": "paper", "objective": Objective(name="nll"), "rho_growth": 1.0, **options})
    task = make_task(model, ranks, modality="image", method=method, batch_size=9, part_size=9)
    task.pace.now = lambda: rate  # pyright: ignore[reportAttributeAccessIssue]
    method.check(task)
    process = method.start(task)

    parameters = dict(other.named_parameters())
    forget, retain = whole_losses(other)
    plain = {"scale": "raw", "guard": False, "stable": False, "derivatives": "exact", "outer_lr": rate}
    for expected in solve(Problem(parameters, forget, retain), SolveOptions(**{**BOTH, **plain, "rounds": 4, **told})):
        found = process.step()
        task.pace.step += 1
        assert found.more["rho"] == pytest.approx(expected.rho, rel=1e-6)
        assert found.more["kappa"] == (None if expected.kappa is None else pytest.approx(expected.kappa, rel=1e-6))
        for name, value in model.named_parameters():
            torch.testing.assert_close(value, parameters[name], rtol=1e-8, atol=1e-10)
    way = max(float((p - q).detach().abs().max()) for p, q in zip(model.parameters(), start.parameters(), strict=True))
    assert way > 1e-2


def test_under_adam_the_secant_is_the_curvature_along_the_step_that_was_taken(
    ranks: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(23): y = ∇²Φ Δθ/η_in with Adam's Δθ, against naive differentiation of Φ; it is not ∇²Φ w."""
    options: dict[str, Any] = {"beta": 0.3, "rho": 0.2, "rho_growth": 1.0, "lambda_eff": 0.5, "inner_steps": 1}
    options |= {"penalty_derivatives": "secant", "optimiser": "adamw", "objective": Objective(name="nll")}
    method, rate = OFMU(preset="paper", **options), 1e-4
    model = smooth()
    task = make_task(model, ranks, modality="image", method=method, batch_size=9, part_size=9)
    task.pace.now = lambda: rate  # pyright: ignore[reportAttributeAccessIssue]
    process = method.start(task)
    optimiser = process._optimiser  # pyright: ignore[reportAttributeAccessIssue]
    seen: dict[str, torch.Tensor] = {}
    descend = optimiser.descend

    def watched(direction: Vector, lr: float) -> None:
        seen["theta"], seen["direction"] = flat_of(model), torch.cat([x.flatten() for x in direction.values()])
        descend(direction, lr)

    monkeypatch.setattr(optimiser, "descend", watched)
    start = flat_of(model)
    process.step()

    batches = [found.batch(range(len(found))) for found in (sets("image")["forget"], sets("image")["retain"])]
    forget, retain = (on_flat(smooth(), batch.pixel_values, batch.labels) for batch in batches)
    y = (seen["direction"] - gradient(retain, seen["theta"])) / (2 * 0.2)

    def curvature(along: torch.Tensor) -> torch.Tensor:
        return gradient(lambda t: nabla_phi(forget, retain, "cosine", 0.3, t) @ along, start)

    moved = (seen["theta"] - start) / (rate * 0.5)
    w = nabla_phi(forget, retain, "cosine", 0.3, start.clone().requires_grad_()).detach()
    assert float((y - curvature(moved)).norm()) < 0.01 * float(y.norm())
    turned = curvature(w) @ y / (curvature(w).norm() * y.norm())
    assert float(turned) < 0.95
