"""θ + Σ shifts, in place, for the time of an evaluation; θ itself comes back from a copy, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, final

import torch
from torch import Tensor

from ofmu.core.products import sum_of_products
from ofmu.core.vector import Direction, Vector, number
from ofmu.errors import InputError, RunError

APPLIED: Final = 0.5
"""A displacement may come out this much shorter or longer along its direction, as a share; beyond, nothing is left of
it but rounding."""


@final
class Displacement:
    """Moves parameters and puts them back. Displacements may nest: they add up, and one copy of θ serves all levels.

    Args:
        parameters: name → leaf tensor in float32 or float64. With half-precision weights these are the masters or
            the factors of an adapter: in bfloat16 a small step moves nothing.
        before_edit: called before parameters are touched (FSDP2: reshard).

    Raises:
        InputError: a parameter in half precision.
    """

    def __init__(self, parameters: Mapping[str, Tensor], before_edit: Callable[[], None] | None = None) -> None:
        for name, p in parameters.items():
            if p.dtype not in {torch.float32, torch.float64}:
                raise InputError(
                    f"finite differences need float32 parameters, but '{name}' is {p.dtype}: "
                    "load the model in float32 and use autocast for speed"
                )
        self._parameters = dict(parameters)
        self._before_edit = before_edit
        self._origin: Vector | None = None
        self._shifts: list[tuple[Direction, float]] = []

    @property
    def size(self) -> float:
        """‖θ‖, the scale of a step when nothing else is known; 1 for θ = 0."""
        return number(Vector(self._parameters).detach().norm()) or 1.0

    @contextmanager
    def along(self, direction: Direction, scale: float, *, measured: bool = False) -> Iterator[float]:
        """Inside, the parameters are displaced by scale · direction from where they were.

        Args:
            direction: not 0.
            scale: not 0.
            measured: find out what rounding left of ``scale``: ⟨fl(θ + scale·d) − θ, d⟩/‖d‖². Steps far above the
                rounding of θ need no measurement.

        Yields:
            The scale that was applied.

        Raises:
            RunError: rounding left nothing of it.
        """
        outermost = self._origin is None
        if outermost:
            self._origin = Vector(self._parameters).clone()
        self._shifts.append((direction, scale))
        try:
            self._begin_edit()
            for name, p in self._parameters.items():
                direction.move(p, name, scale)
            yield self._applied() if measured else scale
        finally:
            self._shifts.pop()
            self._place()
            if outermost:
                self._origin = None

    @torch.no_grad()
    def _applied(self) -> float:
        direction, scale = self._shifts[-1]
        moved = sum_of_products((self._moved(name), direction[name]) for name in self._parameters)
        applied = number(moved) / number(direction.norm()) ** 2
        if not abs(applied - scale) <= APPLIED * abs(scale):
            raise RunError(
                f"a step of {scale:.3g} along the direction came out as {applied:.3g}: it is lost in the rounding of "
                "the parameters"
            )
        return applied

    def _moved(self, name: str) -> Tensor:
        """How far a tensor is from where it was before the last shift."""
        before = (self._origin or {})[name].clone()
        for direction, scale in self._shifts[:-1]:
            direction.move(before, name, scale)
        return self._parameters[name].detach() - before

    def _begin_edit(self) -> None:
        if self._before_edit is not None:
            self._before_edit()

    @torch.no_grad()
    def _place(self) -> None:
        """Put back what is not shifted any more."""
        self._begin_edit()
        origin = self._origin or {}
        for name, p in self._parameters.items():
            p.copy_(origin[name])
            for direction, scale in self._shifts:
                direction.move(p, name, scale)
