"""What forgetting is to come to: the levels of the forget examples, or the end of whole classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from ofmu.data.swaps import swapped
from ofmu.engine.forward import Encoded
from ofmu.engine.goal import Goal, LevelGoal, RemovalGoal, predicted_as
from ofmu.engine.levels import Floats, Levels, Source, deal, deal_tokens
from ofmu.engine.loss import Draw
from ofmu.engine.task import WATCHED, Task, choose
from ofmu.runs.inputs import Sets

LossesOf = Callable[[Draw], list[Floats]]
"""Token losses of chosen examples under some model."""


def watched_forget(sets: Sets, seed: int) -> tuple[Draw, str | None]:
    """What checks look at on the forget side, and a note if it is not what it should be.

    For levels: forget examples. For whole classes: unseen images of them (holdout or test, steering half); without
    any, the forget images themselves.
    """
    forget = sets.encoded["forget"]
    own = Draw(forget, tuple(choose(range(len(forget.ids)), WATCHED, seed)))
    if sets.removed is None:
        return own, None
    for name in ("holdout", "test"):
        unseen = sets.of_removed_classes(name, seed=seed)
        if unseen:
            return Draw(sets.encoded[name], tuple(choose(unseen, WATCHED, seed))), None
    note = "no unseen images of the removed classes are given: the end is judged by the forget images themselves"
    return own, note


def watched_retain(sets: Sets, seed: int) -> Draw:
    """What checks look at on the retain side: the steering half."""
    retain = sets.half("retain", "steer", seed=seed)
    return Draw(sets.encoded["retain"], tuple(choose(retain, WATCHED, seed)))


def make_levels(
    sets: Sets,
    encode: Callable[..., Encoded],
    losses: LossesOf,
    *,
    seed: int,
    base: LossesOf | None = None,
) -> Levels | None:
    """The level of each forget example and of each of its tokens; None where whole classes are removed.

    Args:
        sets: the examples.
        encode: turns examples into batches, for swapped answers.
        losses: under the model before unlearning.
        seed: of the swapped answers.
        base: losses under the base model, None if there is none; the levels are then corrected by its difference in
            difficulty between forget set and holdout.
    """
    if sets.removed is not None:
        return None
    forget = sets.encoded["forget"]
    source: Source = "holdout" if "holdout" in sets.encoded else "swapped answers"
    if source == "holdout":
        unseen = Draw(sets.encoded["holdout"], tuple(sets.half("holdout", "steer", seed=seed)))
    else:
        made = encode(swapped(sets.examples["forget"], sets.examples["retain"], seed=seed))
        unseen = Draw(made, tuple(range(len(made.ids))))
    difficulty = (base or losses)(Draw(forget, tuple(range(len(forget.ids)))))
    levels_of = losses(unseen)
    shift = 0.0 if base is None else float((_means(difficulty)).mean() - _means(base(unseen)).mean())
    levels = deal(forget.ids, _means(difficulty), _means(levels_of), source, shift)
    return replace(levels, tokens=dict(zip(forget.ids, deal_tokens(difficulty, levels_of, shift), strict=True)))


def _means(losses: list[Floats]) -> Floats:
    return np.array([example.mean() for example in losses])


def make_goal(task: Task, sets: Sets) -> Goal:
    """When forgetting is finished, measured from where the model stands now."""
    watched = task.watch_forget
    if sets.removed is None:
        assert task.levels is not None
        ids = tuple(watched.data.ids[i] for i in watched.indices)
        return LevelGoal(task.levels, ids, task.facts(watched))
    chance = float(sets.removed.double().mean())
    predicted = partial(predicted_as, removed=sets.removed)
    return RemovalGoal(sets.removed, chance, task.facts(watched, predicted))
