"""Which retain examples a run trains on: all alike, those near the forget set, or both in equal parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ofmu.engine.nearness import check_head, near_and_others, nearness
from ofmu.engine.task import Task
from ofmu.errors import InputError

NEAR = 0.25
"""Share of the retain set that counts as near where none is given."""


def sample_retain(task: Task, config: Any, tell: Callable[[str], None]) -> tuple[str, ...]:
    """Have the task draw its retain batches as the configuration asks; the groups are found at the first draw.

    Args:
        task: the model in it is the one before unlearning when the groups are found.
        config: an :class:`~ofmu.runs.config.Unlearn`.
        tell: is told when they are looked for, which takes a forward pass over the retain set.

    Returns:
        What to know about it, a line each.

    Raises:
        InputError: there are too few examples, an option has no effect, or the model shows no hidden states.
    """
    kind, total = config.retain_sampling, len(task.data["retain"].ids)
    if kind == "uniform":
        if config.near_share is not None:
            raise InputError("--near-share goes with --retain-sampling near or mixed, but it is uniform")
        return ()
    if not config.method.retains():
        name = config.method.name
        raise InputError(f"{name} with these options trains on no retain examples: leave --retain-sampling out")
    mixed = kind == "mixed"
    count = near_count(total, min(task.batch_size, total), config.near_share or NEAR, mixed=mixed)
    check_head(task)

    def groups() -> list[list[int]]:
        tell("looking for the retain examples near the forget set")
        return near_and_others(nearness(task), count, others=mixed)

    task.strata = {"retain": groups}
    whose = "half of each batch is of these" if mixed else "the others are not trained on"
    return (f"{count:,} of {total:,} retain examples count as near the forget set; {whose}",)


def near_count(total: int, batch: int, share: float, *, mixed: bool) -> int:
    """How many retain examples count as near: their share, and as many as a batch takes of them.

    Args:
        total: retain examples.
        batch: retain examples of a step, 1 … total.
        share: of the examples, in (0, 1).
        mixed: half of a batch is drawn from the others, which must be enough for that.

    Raises:
        InputError: the batch cannot be halved, or nothing would be left out.

    >>> near_count(3600, 16, 0.25, mixed=False), near_count(20, 16, 0.25, mixed=True)
    (900, 8)
    """
    if not mixed:
        count = max(round(share * total), batch)
        if count == total:
            raise InputError(
                f"--retain-sampling near would take all {total} retain examples (a batch of {batch} at least): "
                "leave it out, or take a smaller --batch-size"
            )
        return count
    if batch < 2:
        cure = "leave it out" if total < 2 else "take a larger --batch-size"
        raise InputError(f"--retain-sampling mixed halves each batch, but one holds a single retain example: {cure}")
    return min(max(round(share * total), batch - batch // 2), total - batch // 2)
