"""Options of a run that exclude each other, found before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch

from ofmu.engine.optimiser import TwoSided
from ofmu.engine.rounds.phi import similarity_of
from ofmu.engine.rounds.settings import Settings
from ofmu.errors import InputError

GROWING = ("geometric", "polynomial", "adaptive")
"""Schedules that move ρ, up to its largest."""


Fault = tuple[bool, str]
"""Whether it is there, and the line that says so."""


def check(s: Settings, world: int) -> None:
    """Raise for the first fault, and say what to do about it.

    Args:
        s: of the run.
        world: number of processes.

    Raises:
        InputError: one line, with the options as users know them.
    """
    if s.decorrelates:
        similarity_of(s)
    TwoSided({"one": torch.zeros(1)}, kind=s.optimiser, states=s.optimiser_states)  # kinds that cannot be raise
    for fault, words in chain(_of_steps(s), _of_derivatives(s, world), _of_secant(s), _of_penalty(s)):
        if fault:
            raise InputError(words)


def _of_steps(s: Settings) -> Iterator[Fault]:
    """Where steps begin and where ∇Φ is taken."""
    yield (
        s.base == "literal",
        "base literal takes the outer step where the round began, with the gradients of that place, so that its "
        "inner steps have no effect; use sequential or anchored",
    )
    yield (
        s.base == "anchored" and s.outer_steps > 1,
        f"base anchored has one outer step, but outer_steps is {s.outer_steps}: a second one would no longer see "
        "the inner steps; use base sequential",
    )
    yield (
        s.sam_radius > 0 and s.adversary_steps > 0,
        "sam_radius and adversary_steps both say where forgetting is asked to hold; set one of them to 0",
    )
    yield (
        s.adversary_steps == 1,
        "adversary_steps 1 teaches nothing, for the first round of a lesson is taken where nothing has been taught; "
        "give 2 or more, or 0 to switch it off",
    )


def _of_derivatives(s: Settings, world: int) -> Iterator[Fault]:
    """How curvature is computed."""
    exact = s.derivatives == "exact"
    yield (exact and world > 1, "derivatives exact works in one process only; use finite_difference for several")
    yield (
        s.derivatives == "gauss_newton" and world > 1,
        "derivatives gauss_newton works in one process only; use finite_difference for several",
    )
    yield (
        s.penalises and s.along == "gauss_newton",
        f"derivatives gauss_newton drop the sign that tells forgetting from remembering, but rho is {s.rho:g}: "
        "give penalty_derivatives finite_difference or secant with it, or rho 0",
    )
    yield (
        s.derivatives == "secant" and not s.penalises,
        "derivatives secant are for the penalty, but there is none: give a rho above 0, or finite_difference",
    )
    yield (
        s.derivatives == "gauss_newton" and not s.decorrelates,
        "derivatives gauss_newton are for the similarity term, but there is none; use finite_difference",
    )
    yield (
        exact and s.curvature_share < 1,
        "curvature_share below 1 is for differences of gradients; use derivatives finite_difference",
    )
    yield (
        s.debias == "halves" and (exact or world > 1),
        "debias halves needs gradients by finite_difference in one process; use moving",
    )


def _of_secant(s: Settings) -> Iterator[Fault]:
    """What the last inner step alone cannot tell."""
    if not s.secant:
        return
    yield (
        s.outer_steps > 1,
        f"derivatives secant know the curvature at the last inner step's batch, but outer_steps is "
        f"{s.outer_steps}: the others have fresh batches; use finite_difference",
    )
    yield (
        s.penalty_batches > 1,
        "derivatives secant know the curvature at the last inner step's batch, but penalty_batches 2 needs that "
        "of a fresh one; use finite_difference",
    )
    yield (
        s.penalises and s.rho_schedule == "augmented_lagrangian",
        "derivatives secant know the curvature along the inner step only, but rho_schedule augmented_lagrangian "
        "needs it along the multipliers too; use finite_difference",
    )
    yield (
        s.sam_radius > 0,
        "derivatives secant compare ∇Φ at both ends of an inner step, but sam_radius takes it elsewhere; "
        "use finite_difference",
    )
    yield (
        s.priority != "none",
        "derivatives secant divide by the inner step, which a priority may make 0; use finite_difference",
    )
    yield (
        s.adversary_steps > 0,
        "derivatives secant need ∇Φ at the weights themselves, but adversary_steps takes it elsewhere; use "
        "finite_difference, or adversary_steps 0",
    )
    yield (
        s.optimiser not in ("sgd", "adamw"),
        f"derivatives secant follow a step along ∇Φ, which optimiser {s.optimiser} does not take; use sgd or adamw",
    )


def _of_penalty(s: Settings) -> Iterator[Fault]:
    """ρ, its schedule and its caps."""
    multipliers = s.penalises and s.rho_schedule == "augmented_lagrangian"
    adaptive = s.penalises and s.rho_schedule == "adaptive"
    yield (
        s.rho_cap and s.optimiser != "sgd",
        f"rho_cap speaks of plain steps, but the optimiser is {s.optimiser}; use sgd",
    )
    yield (
        (multipliers or adaptive) and (s.adversary_steps > 0 or s.sam_radius > 0),
        f"rho_schedule {s.rho_schedule} needs ∇Φ at the weights themselves, but adversary_steps and sam_radius "
        "take it elsewhere; use another schedule, or adversary_steps 0 and sam_radius 0",
    )
    yield (
        adaptive and s.rho_growth == 1,
        "rho_schedule adaptive moves rho by the factor rho_growth, which is 1; give one above 1, 2 for instance",
    )
    yield (
        s.penalises and s.rho_schedule in GROWING and s.rho > s.rho_max,
        f"rho is {s.rho:g}, but rho_max is {s.rho_max:g}: lower the one or raise the other",
    )
    yield (
        s.rho_matched and s.scale == "relative",
        "rho_matched belongs to scale raw: a relative rho is a share of the retain gradient, and its step does "
        "not grow with it",
    )
    yield (
        s.undo_cap and s.optimiser != "sgd",
        f"undo_cap speaks of plain steps, but the optimiser is {s.optimiser}; use sgd",
    )
