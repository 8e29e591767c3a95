"""Which retain examples a run trains on: all alike, those near the forget set, or both in equal parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ofmu.engine.nearness import nearness, strata
from ofmu.engine.task import Task
from ofmu.errors import InputError

Groups = list[list[int]]

NEAR = 0.25
"""Share of the retain set that counts as near where none is given."""


def retain_strata(task: Task, config: Any, note: Callable[[str], None]) -> dict[str, Callable[[], Groups]]:
    """What goes into ``task.strata``; nothing where all are drawn alike.

    Args:
        task: the model in it is the one before unlearning when the groups are asked for.
        config: an :class:`~ofmu.runs.config.Unlearn`.
        note: is told when the examples are looked through, which takes a forward pass over the retain set.

    Raises:
        InputError: a batch cannot be divided, or an option has no effect.
    """
    kind, batch = config.retain_sampling, min(task.batch_size, len(task.data["retain"].ids))
    if kind == "uniform":
        if config.near_share is not None:
            raise InputError(
                "--near-share has no effect with --retain-sampling uniform: leave it out, or take near or mixed"
            )
        return {}
    if not config.method.retains:
        raise InputError(f"{config.method.name} trains on no retain examples: leave --retain-sampling out")
    if kind == "mixed" and batch < 2:
        raise InputError(
            "--retain-sampling mixed takes half of each batch from the near retain examples and half from the others, "
            "but a batch holds one retain example only: use a larger --batch-size, or uniform"
        )
    return {"retain": partial(_near, task, config.near_share or NEAR, batch, kind == "mixed", note)}


def _near(task: Task, share: float, batch: int, rest: bool, note: Callable[[str], None]) -> Groups:
    note("looking for the retain examples near the forget set")
    return strata(nearness(task), share=share, batch=batch, rest=rest)
