"""Every form of OFMU: a round costs what was forecast (T5), and a saved run goes on bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ofmu.core.similarity import SIMILARITIES
from ofmu.engine.processes import Processes, processes
from ofmu.engine.task import Task
from ofmu.errors import InputError
from ofmu.methods.ofmu import OFMU, PRESETS
from smooth import smooth
from tasks import make_task

BOTH: dict[str, Any] = {"similarity": "cosine", "retain_direction": "fresh", "rho": 0.1, "inner_steps": 2}
"""A similarity that never rests, and a penalty."""
SGD: dict[str, Any] = {"optimiser": "sgd"}

FORMS: dict[str, tuple[dict[str, Any], float]] = {
    "C0 exact, exact": ({**BOTH, "derivatives": "exact"}, 6 * 2 + 18),
    "C1 central, central": ({**BOTH, "derivatives": "central"}, 6 * 2 + 18),
    "C2 forward, forward": (BOTH, 4 * 2 + 8),
    "C3 exact, forward": ({**BOTH, "derivatives": "exact", "penalty_derivatives": "finite_difference"}, 6 * 2 + 12),
    "C4 secant": ({**BOTH, **SGD, "derivatives": "secant"}, 4 * 2 + 4),
    "C4 secant, preconditioned": ({**BOTH, "penalty_derivatives": "secant"}, 4 * 2 + 4),
    "C4 central, secant": ({**BOTH, "derivatives": "central", "penalty_derivatives": "secant"}, 6 * 2 + 6),
    "C5 refreshed every third step": ({**BOTH, "refresh_every": 3, "inner_steps": 4}, 4 * 2 + 1 * 2 + 8),
    "C5 with secant": (
        {**BOTH, "refresh_every": 3, "inner_steps": 3, "penalty_derivatives": "secant"},
        4 + 1 + 4 + 4,
    ),
    "C6 without the retain curvature": ({**BOTH, "retain_curvature": False}, 3 * 2 + 6),
    "C6 exact": ({**BOTH, "retain_curvature": False, "derivatives": "exact"}, 4 * 2 + 12),
    "C7 hinge at rest": ({"margin": 1.0, "rho": 0.1, "retain_direction": "fresh"}, 2 + 3),
    "C7 looking before": ({"margin": 1.0, "rho": 0.1}, 1 + 3),
    "C7 exact": ({"margin": 1.0, "rho": 0.1, "derivatives": "exact"}, 1 + 4),
    "C8 projected": ({"step": "projected", "inner_steps": 2}, 2 * 2 + 1),
    "no similarity": ({"similarity": "none", "rho": 0.1, "inner_steps": 2}, 2 + 3),
    "retain gradient held": ({**BOTH, "retain_direction": "held"}, 2 * 2 + 5),
    "gauss_newton without penalty": ({**BOTH, "derivatives": "gauss_newton", "rho": 0.0}, 4 * 2 + 1),
    "gauss_newton, forward": (
        {**BOTH, "derivatives": "gauss_newton", "penalty_derivatives": "finite_difference"},
        4 * 2 + 8,
    ),
    "gauss_newton, secant": ({**BOTH, "derivatives": "gauss_newton", "penalty_derivatives": "secant"}, 4 * 2 + 4),
    "curvature of two fifths": ({**BOTH, "curvature_share": 0.4}, 3 * (2 + 4 * 0.4) + 2 * 0.4 * 4),
    "two batches": ({**BOTH, "penalty_batches": 2}, 4 * 2 + 16),
    "two batches exact": ({**BOTH, "penalty_batches": 2, "derivatives": "exact"}, 6 * 2 + 36),
    "two outer steps": ({**BOTH, "outer_steps": 2}, 4 * 2 + 16),
    "augmented Lagrangian": ({**BOTH, "rho_schedule": "augmented_lagrangian"}, 4 * 2 + 12),
    "polynomial, matched": (
        {**BOTH, **SGD, "rho_schedule": "polynomial", "scale": "raw", "rho_matched": True},
        4 * 2 + 8,
    ),
    "adaptive": ({**BOTH, "rho_schedule": "adaptive", "rho_growth": 2.0}, 4 * 2 + 8),
    "undo cap": ({**BOTH, **SGD, "undo_cap": True}, 4 * 2 + 8),
    "sharp": ({"similarity": "none", "sam_radius": 0.05, "sam_of": "matrix", "inner_steps": 2}, 4 + 1),
    "anchored": ({**BOTH, "base": "anchored"}, 4 * 2 + 8),
    "trust region": ({"similarity": "none", "trust_region": 1e-3, "trust_of": "matrix"}, 2),
    "by layer": ({**BOTH, "blocks": "layer"}, 4 * 2 + 8),
    "halves": ({"similarity": "none", "debias": "halves"}, 2),
    "nothing debiased": ({"similarity": "none", "debias": "off"}, 2),
    "signs": ({"similarity": "none", "optimiser": "sign"}, 2),
    "torch's": ({"similarity": "none", "optimiser": "RMSprop", "optimiser_states": "two"}, 2),
    **{
        f"priority {word}": ({"similarity": "none", "priority": word}, 2)
        for word in ("forget", "retain", "balanced", 0.5)
    },
    **{f"similarity {name}": ({**BOTH, "similarity": name}, 4 * 2 + 8) for name in SIMILARITIES if "hinge" not in name},
    "similarity soft_hinge": ({**BOTH, "similarity": "soft_hinge"}, 4 * 2 + 8),
    "similarity hinge": ({**BOTH, "similarity": "hinge", "margin": 1.0}, 2 * 2 + 3),
}
"""Options → gradients a round, by the table of costs."""


@pytest.fixture(scope="module")
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


def task_of(ranks: Processes) -> Task:
    return make_task(smooth(), ranks, modality="image", learning_rate=1e-3)


def weights(task: Task) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in task.parameters.items()}


@pytest.mark.parametrize("form", FORMS)
def test_a_round_costs_what_was_forecast_and_a_saved_run_goes_on_bit_for_bit(form: str, ranks: Processes) -> None:
    options, gradients = FORMS[form]
    method = OFMU(**options)
    assert method.gradients_a_step() == pytest.approx(gradients)
    task = task_of(ranks)
    method.check(task)
    process = method.start(task)
    for k in range(2):
        process.observe(task.check())
        process.step()
        task.pace.step = k + 1
    held = {"task": task.state_dict(), "process": process.state_dict(), "weights": weights(task)}
    kept = torch.utils._pytree.tree_map_only(Tensor, Tensor.clone, held)
    before = task.meter.gradients
    record = process.step()
    assert task.meter.gradients - before == pytest.approx(gradients)

    again = task_of(ranks)
    other = method.start(again)
    with torch.no_grad():
        for name, p in again.parameters.items():
            p.copy_(kept["weights"][name])
    again.load_state_dict(kept["task"])
    other.load_state_dict(kept["process"])
    assert other.step() == record
    after = weights(task)
    assert all(torch.equal(p, after[name]) for name, p in weights(again).items())
    assert any(not torch.equal(p, kept["weights"][name]) for name, p in after.items())


@pytest.mark.parametrize("form", FORMS)
def test_what_a_run_stores_is_accepted_again(form: str, ranks: Processes) -> None:
    resolved = OFMU(**FORMS[form][0]).resolved()
    resolved.check(task_of(ranks))
    assert resolved.resolved() == resolved


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_complete_and_pass_their_own_checks(preset: str, ranks: Processes) -> None:
    method = OFMU(preset=preset)  # pyright: ignore[reportArgumentType]
    resolved = method.resolved()
    assert all(getattr(resolved, name) is not None for name in PRESETS[preset])
    assert resolved.resolved() == resolved
    method.check(task_of(ranks))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base": "literal"}, "inner steps have no effect"),
        ({"base": "anchored", "outer_steps": 2}, "base anchored has one outer step, but outer_steps is 2"),
        ({"derivatives": "exact", "debias": "halves"}, "debias halves needs gradients by finite_difference"),
        ({"priority": "forgot"}, r"method.priority is 'forgot', but must be one of .*, a number > 0, .* or"),
        ({"priority": "-1"}, "but must be one of"),
        ({**BOTH, "derivatives": "gauss_newton"}, "drop the sign .* but rho is 0.1: give penalty_derivatives"),
        ({**BOTH, "derivatives": "secant", "outer_steps": 2}, "outer_steps is 2: the others have fresh batches"),
        ({**BOTH, "derivatives": "secant", "penalty_batches": 2}, "penalty_batches 2 needs that of a fresh one"),
        ({**BOTH, "derivatives": "secant", "rho_schedule": "augmented_lagrangian"}, "along the multipliers too"),
        ({**BOTH, "derivatives": "secant", "sam_radius": 0.1}, "sam_radius takes it elsewhere"),
        ({**BOTH, "derivatives": "secant", "priority": "forget"}, "which a priority may make 0"),
        ({**BOTH, "rho_schedule": "augmented_lagrangian", "sam_radius": 0.1}, "augmented_lagrangian needs ∇Φ at the"),
        ({**BOTH, "rho_schedule": "adaptive", "rho_growth": 2.0, "sam_radius": 0.1}, "adaptive needs ∇Φ at the"),
        ({**BOTH, "rho_schedule": "adaptive"}, "by the factor rho_growth, which is 1; give one above 1"),
        ({"rho": 2.0}, "rho is 2, but rho_max is 1"),
        ({**BOTH, "derivatives": "secant", "optimiser": "sign"}, "which optimiser sign does not take"),
        ({**BOTH, "derivatives": "exact", "curvature_share": 0.5}, "curvature_share below 1 is for differences"),
        ({"rho_matched": True}, "rho_matched belongs to scale raw"),
        ({"undo_cap": True}, "undo_cap speaks of plain steps, but the optimiser is adamw"),
        ({"rho_cap": True, "optimiser": "sign"}, "rho_cap speaks of plain steps, but the optimiser is sign"),
        ({"derivatives": "secant"}, "derivatives secant are for the penalty, but there is none"),
        ({"similarity": "none", "derivatives": "gauss_newton"}, "are for the similarity term, but there is none"),
        ({"rho_growth": 1.1}, "method.rho_growth was given, but has no effect without a penalty: rho above 0"),
        ({"penalty_batches": 2}, "penalty_batches was given, but has no effect without a penalty"),
        ({**BOTH, "rho_power": 2.0}, "rho_power was given, but has no effect without rho_schedule polynomial"),
        ({"similarity": "cosine", "margin": 0.1}, "margin was given, but has no effect without a hinge"),
        ({"temperature": 0.2}, "temperature was given, but has no effect without similarity soft_hinge"),
        ({"smoothing": 0.1}, "smoothing was given, but has no effect without similarity euclid or angle"),
        ({"similarity": "none", "beta": 0.2}, "beta was given, but has no effect without a similarity"),
        ({"step": "projected", "rho": 0.2}, "rho was given, but has no effect without step full"),
        ({"sam_of": "matrix"}, "sam_of was given, but has no effect without sam_radius above 0"),
        ({"trust_of": "matrix"}, "trust_of was given, but has no effect without trust_region above 0"),
        ({"adversary_rate": 0.1}, "adversary_rate was given, but has no effect without adversary_steps above 0"),
        ({"block_weights": "sum"}, "block_weights was given, but has no effect without blocks layer or tensor"),
        ({"balance": "fixed", "retain_band": 0.1}, "retain_band was given, but has no effect without balance adapt"),
        ({**SGD, "optimiser_states": "two"}, "optimiser_states was given, but has no effect without an optimiser"),
        ({"similarity": "cosin"}, "unknown similarity 'cosin' .did you mean 'cosine'"),
        ({"optimiser": "RMSprop"}, "give optimiser_states two"),
        ({"optimiser": "rmsprop"}, "unknown optimiser 'rmsprop'"),
    ],
)
def test_options_that_exclude_each_other_are_refused_in_a_line(
    options: dict[str, Any], words: str, ranks: Processes
) -> None:
    with pytest.raises(InputError, match=words) as refused:
        OFMU(**options).check(task_of(ranks))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("derivatives", ["exact", "gauss_newton"])
def test_derivatives_of_one_process_are_refused_in_two(
    derivatives: str, ranks: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "world", 2)
    task = task_of(ranks)
    with pytest.raises(InputError, match=f"derivatives {derivatives} works in one process only"):
        OFMU(derivatives=derivatives).check(task)  # pyright: ignore[reportArgumentType]
