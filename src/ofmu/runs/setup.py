"""From what a run is given to a task: model placed, levels dealt, step size and length found."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ofmu.engine.forward import Encoded
from ofmu.engine.levels import Floats
from ofmu.engine.loss import BatchLoss, Draw
from ofmu.engine.method import Method
from ofmu.engine.pace import Pace, default_learning_rate, default_steps
from ofmu.engine.processes import Processes
from ofmu.engine.task import Task
from ofmu.engine.token_losses import token_losses
from ofmu.errors import InputError
from ofmu.losses import nll
from ofmu.models.adapters import adapter_off, add_lora
from ofmu.models.loaded import Loaded
from ofmu.runs.goals import make_goal, make_levels, watched_forget, watched_retain
from ofmu.runs.inputs import Sets, encoder, read_model
from ofmu.runs.reference import reference_sums
from ofmu.runs.sampling import sample_retain

CHECKS = 20
"""Looks at the steering examples over the steps allowed."""


@dataclass
class Setup:
    """A task with what belongs to it outside of methods.

    Args:
        task: what the method gets.
        loaded: the model, with its adapter under LoRA; `loaded.model` is unplaced.
        method: with all options resolved.
        step_cost: gradients that a step usually takes.
        check_every: steps between checks.
        notes: warnings, a line each.
    """

    task: Task
    loaded: Loaded
    method: Method
    step_cost: float
    check_every: int
    notes: tuple[str, ...]


def adapt(loaded: Loaded, config: Any) -> Loaded:
    """The model with fresh adapters where they are asked for; activations recomputed where that is asked for."""
    given = [name for name in ("alpha", "targets") if getattr(config.lora, name) is not None]
    if config.lora.merge and not loaded.adapter:
        given.append("merge")
    if config.lora.rank is None and given:
        raise InputError(f"--lora.{given[0]} is given without --lora.rank; name a rank, or leave it out")
    if config.lora.rank is not None:
        if loaded.adapter:
            raise InputError(f"{loaded.name} is an adapter already: it is trained on; leave --lora.rank out")
        torch.manual_seed(config.seed)
        loaded = add_lora(loaded, config.lora.rank, config.lora.alpha, targets=config.lora.targets)
    if config.gradient_checkpointing:
        recompute_activations(loaded.model)
    return loaded


def recompute_activations(model: nn.Module) -> None:
    """Keep few activations and compute the others again in the backward pass; dropout and batch statistics stay off.

    Raises:
        InputError: the model cannot do it.
    """
    enable = getattr(model, "gradient_checkpointing_enable", None)
    if enable is None:
        raise InputError(f"{type(model).__name__} cannot recompute activations; leave --gradient-checkpointing out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # later releases call it activation checkpointing
        enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()  # transformers recomputes in training mode only
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd | nn.modules.batchnorm._BatchNorm):
            module.eval()


def step_cost(method: Method, batch_size: int, num_forget: int, num_retain: int) -> float:
    """Gradients that a step usually takes; batches of sets smaller than a batch count by their share."""
    share = (min(batch_size, num_forget) + min(batch_size, num_retain)) / (2 * batch_size)
    return method.gradients_a_step() * share


def trainable(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that a run changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def prepare(
    config: Any,
    loaded: Loaded,
    sets: Sets,
    processes: Processes,
    *,
    cache: Path | None,
    tell: Callable[[str], None] = lambda _: None,
) -> Setup:
    """Place the model and make the task.

    Args:
        config: an :class:`~ofmu.runs.config.Unlearn` whose method is an object.
        loaded: from :func:`adapt`.
        sets: the examples.
        processes: the ranks.
        cache: folder for reference scores; None keeps them in memory.
        tell: is told what takes long once the task is at work.
    """
    method: Method = config.method.resolved()
    reference = None
    fresh_adapter = loaded.adapter and not loaded.came_as_adapter
    if method.needs_reference_model() and not fresh_adapter:
        reference = processes.place(copy.deepcopy(loaded.model)).requires_grad_(False)
    learning_rate = config.learning_rate or default_learning_rate(loaded.model)
    model = processes.place(loaded.model)
    steps = config.steps or default_steps(len(sets.encoded["forget"].ids), config.batch_size)
    cost = step_cost(method, config.batch_size, *(len(sets.encoded[name].ids) for name in ("forget", "retain")))
    if config.budget is not None:
        if config.budget < cost:
            raise InputError(
                f"--budget is {config.budget:g}, but one step of this method takes about {cost:g} gradients"
            )
        steps = min(config.steps or 10**9, int(config.budget / cost + 1e-9))
    watched, note = watched_forget(sets, config.seed)
    task = Task(
        model=model,
        parameters=trainable(processes.unwrap(model)),
        data={name: sets.encoded[name] for name in ("forget", "retain")},
        processes=processes,
        pace=Pace(learning_rate, steps, fixed=not method.wants_goal),
        batch_size=config.batch_size,
        part_size=config.micro_batch_size or config.batch_size,
        seed=config.seed,
        chance=math.log(_outcomes(loaded, processes.unwrap(model))),
        watch_forget=watched,
        watch_retain=watched_retain(sets, config.seed),
        removed=sets.removed,
        reference_model=reference,
        adapter_off=partial(adapter_off, model) if fresh_adapter else None,
    )
    task.reference_sums = partial(reference_sums, task, cache, loaded.fingerprint)
    if config.micro_batch_size is None:
        task.part_size = largest_part(task)
    _set_goal(task, config, loaded, sets)
    method.check(task)
    sampled = sample_retain(task, config, tell)
    notes = (*loaded.notes, *sets.notes, *([note] if note else []), *sampled)
    return Setup(task, loaded, method, cost, config.check_every or max(1, math.ceil(steps / CHECKS)), notes)


def _set_goal(task: Task, config: Any, loaded: Loaded, sets: Sets) -> None:
    encode: Callable[..., Encoded] = encoder(loaded, config.max_length)
    base = None
    if config.base is not None and sets.removed is None:
        base = _losses_of_other(task, read_model(config.base, config))
    task.levels = make_levels(sets, encode, task.token_losses, seed=config.seed, base=base)
    task.goal = make_goal(task, sets)


def _losses_of_other(task: Task, other: Loaded) -> Callable[[Draw], list[Floats]]:
    model = task.processes.place(other.model)

    def losses(draw: Draw) -> list[Floats]:
        return token_losses(model, draw, processes=task.processes, meter=task.meter, part_size=task.part_size)

    return losses


def _outcomes(loaded: Loaded, model: nn.Module) -> int:
    """K: vocabulary entries or image classes."""
    if loaded.num_classes:
        return loaded.num_classes
    vocabulary = getattr(getattr(model, "config", None), "vocab_size", None)
    return int(vocabulary or len(loaded.tokenizer or ()) or 10)


def largest_part(task: Task) -> int:
    """The largest micro-batch that fits: tried on the longest examples, halved while memory runs out.

    Raises:
        InputError: not even one example fits.
    """
    size, retain = math.ceil(task.batch_size / task.processes.world), task.data["retain"]
    if task.processes.device.type != "cuda":
        return size
    while size >= 1:
        longest = sorted(range(len(retain.ids)), key=lambda i: -int(retain.lengths[i]))
        draw = Draw(retain, tuple(longest[: size * task.processes.world]))
        trial = BatchLoss(
            task.model,
            lambda rows, _: nll(rows),
            draw,
            per="tokens",
            processes=task.processes,
            meter=copy.copy(task.meter),
            part_size=size,
        )
        try:
            task.derivatives().gradient(trial)
            return size
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            size //= 2
    raise InputError("not even one example fits into memory; try --lora.rank 8 or --gradient-checkpointing")
