"""What a run is going to do, before it does it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from ofmu.engine.loss import BatchLoss, Draw
from ofmu.engine.meter import Meter
from ofmu.losses import nll
from ofmu.runs.inputs import Sets
from ofmu.runs.setup import Setup

FORWARD = 1 / 3
"""Of a gradient, that a forward pass takes."""

VECTORS = 9
"""Copies of the trained parameters that are held at once at most: θ, its copy, gradients, moments, work space."""


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Args:
        model: its name.
        modality: text or image.
        parameters: of the whole model.
        trained: of which trained.
        method: its name.
        examples: set → count.
        clusters: set → count of clusters.
        level: where the level of forgetting comes from.
        learning_rate: at the peak.
        steps: the most there may be.
        batch_size: examples of a step on each side.
        micro_batch_size: examples of one forward pass.
        gradients: the most that are planned.
        budget: gradients that end the run, so that its steps are an estimate: some cost more than others; None where
            the steps end it.
        memory_gib: forecast for parameters and their vectors, without activations.
        seconds: forecast of the steps, and of the look for near retain examples where that is asked for, from one
            gradient measured; None if none was measured.
        notes: warnings.
        retraining: with `--retrained auto`: models, cached, steps of one, gradients; apart from the run's own.
    """

    model: str
    modality: str
    parameters: int
    trained: int
    method: str
    examples: dict[str, int]
    clusters: dict[str, int]
    level: str
    learning_rate: float
    steps: int
    batch_size: int
    micro_batch_size: int
    gradients: float
    memory_gib: float
    seconds: float | None
    notes: tuple[str, ...]
    retraining: dict[str, Any] | None = None
    budget: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For printing."""
        return asdict(self)

    @classmethod
    def of(cls, setup: Setup, sets: Sets, config: Any, *, timed: bool = False) -> Plan:
        """The plan of a run that is set up.

        Args:
            setup: the run.
            sets: its examples.
            config: its configuration.
            timed: measure one gradient for the forecast of time.
        """
        task = setup.task
        planned = task.pace.steps * setup.step_cost
        gradients = planned if config.budget is None else min(planned, config.budget)
        total = sum(p.numel() for p in setup.loaded.model.parameters())
        trained = sum(p.numel() for p in task.parameters.values())
        level = "whole classes are removed" if task.levels is None else task.levels.source
        return cls(
            model=setup.loaded.name,
            modality=setup.loaded.modality,
            parameters=total,
            trained=trained,
            method=type(setup.method).name,
            examples={name: len(found.ids) for name, found in sets.encoded.items()},
            clusters={name: len(set(found.clusters)) for name, found in sets.encoded.items()},
            level=level,
            learning_rate=task.pace.learning_rate,
            steps=task.pace.steps,
            batch_size=task.batch_size,
            micro_batch_size=task.part_size,
            gradients=gradients,
            memory_gib=round(4 * (total + (VECTORS - 1) * trained) / 2**30, 3),
            seconds=round(_seconds_of_a_gradient(setup) * (gradients + _looking(setup)), 1) if timed else None,
            notes=setup.notes,
            budget=config.budget if config.budget is not None and planned > config.budget - setup.step_cost else None,
        )


def _looking(setup: Setup) -> float:
    """Gradients that a forward pass over the retain set is worth, where one is taken before the first step."""
    task = setup.task
    return len(task.data["retain"].ids) / task.batch_size * FORWARD if task.strata else 0.0


def _seconds_of_a_gradient(setup: Setup) -> float:
    task = setup.task
    draw = Draw(task.data["retain"], tuple(range(min(task.batch_size, len(task.data["retain"].ids)))))
    loss = BatchLoss(
        task.model,
        lambda rows, _: nll(rows),
        draw,
        per="tokens",
        processes=task.processes,
        meter=Meter(task.batch_size),
        part_size=task.part_size,
    )
    derivatives = task.derivatives()
    derivatives.gradient(loss)  # the first one warms up
    started = time.perf_counter()
    derivatives.gradient(loss)
    return time.perf_counter() - started
