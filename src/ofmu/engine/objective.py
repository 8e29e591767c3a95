"""The forget objectives of OFMU, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ofmu.data.tokens import TokenSet
from ofmu.engine.forward import Batch
from ofmu.engine.levels import Levels
from ofmu.engine.reference import sums_of
from ofmu.engine.task import Task
from ofmu.losses import (
    Rows,
    Sides,
    by_rank,
    clip,
    in_place,
    level,
    nll,
    npo,
    removal,
    simnpo,
    token_level,
    token_probability,
    uniform,
)
from ofmu.ranges import Range

Values = Callable[[Rows, Batch], Tensor]
"""F of each example of a batch: (B,), to be minimised."""
Per = Literal["tokens", "examples"]
Order = Literal["now", "before"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The forget loss F to be minimised; the paper's L_f, to be raised, is −F."""

    name: (
        Literal[
            "auto",
            "level",
            "token_level",
            "removal",
            "nll",
            "npo",
            "simnpo",
            "clip",
            "uniform",
            "token_probability",
        ]
        | None
    ) = None
    """`level`: each example to the loss of unseen data; `token_level`: each of its tokens; `removal`: whole classes to
    chance; `auto`: `token_level` on texts (`level` with the penalty, which wants a smooth loss), `level` on images,
    `removal` of whole classes; `nll`: the paper's plain ascent; `npo`, `simnpo`, `clip`, `token_probability`: ascent
    that fades; `uniform`: no answer preferred."""
    width: Annotated[float, Range(gt=0)] = 1.0
    """`level`, `token_level`: distance to the level, in nats, beyond which the pull no longer grows."""
    sides: Sides = "two"
    """`level`, `token_level`: `two`, or `one`: what is above its level is not called back."""
    order: Order = "now"
    """`token_level`: levels are dealt out by the rank of a token's loss `now`, or `before` unlearning."""
    beta: Annotated[float, Range(gt=0)] | None = None
    """`npo` (default 0.1), `simnpo` (default 4.5): the inverse temperature."""
    delta: Annotated[float, Range(ge=0)] = 0.0
    """`simnpo`: the loss, in nats, around which the push fades."""
    ceiling: Annotated[float, Range(gt=0)] | None = None
    """`clip`: the loss, in nats, around which the push fades; left out: each example's level, for whole classes that of
    a uniform guess."""

    @property
    def needs_level(self) -> bool:
        """Whether it cannot do without levels."""
        return self.name in ("level", "token_level")


def forget_objective(task: Task, options: Objective, *, penalised: bool = False) -> tuple[Values, Per]:
    """F of each example or token, and what its mean is over.

    Args:
        task: with the levels or the removed classes that the objective needs.
        options: which objective; ``auto`` takes ``removal`` where whole classes go, ``token_level`` on other texts,
            ``level`` on other images.
        penalised: ∇²Φ will be asked for. ∇F of ``token_level`` jumps where two tokens change places, so ``auto`` is
            ``level`` then.

    Returns:
        (rows, batch) → values to be minimised, and ``"tokens"`` or ``"examples"``.
    """
    name = options.name
    if name == "auto":
        name = _fitting(task, penalised)
    if name in OF_ROWS:
        return OF_ROWS[name](options), "tokens"
    if name == "simnpo":
        return lambda rows, _: simnpo(rows, options.beta or 4.5, options.delta), "examples"
    if name == "npo":
        reference = sums_of(task)
        return lambda rows, _: npo(rows, reference(rows), options.beta or 0.1), "examples"
    if name == "clip":
        return _clip(task, options), "examples"
    if name == "removal":
        return _removal(task), "examples"
    assert name in ("level", "token_level")
    assert task.levels is not None  # checked before the run begins
    return (_level if name == "level" else _token_level)(task.levels, options), "examples"


def _fitting(task: Task, penalised: bool) -> str:
    """What `auto` is on these data."""
    if task.removed is not None:
        return "removal"
    return "token_level" if isinstance(task.data["forget"], TokenSet) and not penalised else "level"


OF_ROWS: dict[str | None, Callable[[Objective], Values]] = {
    "nll": lambda _: lambda rows, _batch: -nll(rows),
    "uniform": lambda _: lambda rows, _batch: uniform(rows),
    "token_probability": lambda _: lambda rows, _batch: token_probability(rows),
}
"""Objectives that need nothing but the rows."""


def _level(levels: Levels, options: Objective) -> Values:
    return lambda rows, _: level(rows, _of(levels, rows), options.width, options.sides)


def _token_level(levels: Levels, options: Objective) -> Values:
    now = options.order == "now"
    dealt = by_rank if now else in_place

    def to_level(rows: Rows, _: Batch) -> Tensor:
        wanted = torch.from_numpy(levels.of_tokens(rows.ids, ascending=now)).to(rows.logits)
        return token_level(rows, dealt(rows, wanted), options.width, options.sides)

    return to_level


def _clip(task: Task, options: Objective) -> Values:
    levels = task.levels

    def ceilings(rows: Rows) -> Tensor:
        if options.ceiling is not None or levels is None:
            return rows.logits.new_full((len(rows.ids),), options.ceiling or task.chance)
        return _of(levels, rows)

    return lambda rows, _: clip(rows, ceilings(rows))


def _removal(task: Task) -> Values:
    removed = task.removed
    assert removed is not None  # checked before the run begins
    chance = float(removed.double().mean())
    return lambda rows, _: removal(rows, removed.to(rows.logits.device), chance)


def _of(levels: Levels, rows: Rows) -> Tensor:
    """The levels of a batch's examples: (B,)."""
    return torch.tensor(levels.of(rows.ids), device=rows.logits.device)
