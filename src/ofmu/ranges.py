"""Ranges of numeric options: stated once beside the option, checked everywhere.

An option is declared as ``beta: Annotated[float, Range(gt=0)] = 0.1``; :func:`check` reads the annotations of a
dataclass, nested ones too, and names the first value that is out of range.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass
from typing import Any

from ofmu.errors import InputError


@dataclass(frozen=True)
class Range:
    """An interval of allowed numbers; ``ge``/``le`` include the end, ``gt``/``lt`` exclude it."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    @property
    def bounds(self) -> str:
        """Both ends in words; empty where there is none."""
        low = f">= {self.ge:g}" if self.ge is not None else f"> {self.gt:g}" if self.gt is not None else ""
        high = f"<= {self.le:g}" if self.le is not None else f"< {self.lt:g}" if self.lt is not None else ""
        return " and ".join(part for part in (low, high) if part)

    def __str__(self) -> str:
        return self.bounds or "any finite number"


def check(options: Any, prefix: str = "") -> None:
    """Raise if a numeric option of a dataclass lies outside its declared range.

    Args:
        options: a dataclass instance; fields that are dataclasses are checked too.
        prefix: how the user names this dataclass, e.g. ``"method."``.

    Raises:
        InputError: names the option, the value given and the range allowed.
    """
    hints = typing.get_type_hints(type(options), include_extras=True)
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            check(value, f"{prefix}{field.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            for allowed in _ranges(hints[field.name]):
                if value not in allowed:
                    must = allowed if math.isfinite(value) else f"a finite number {allowed.bounds}".rstrip()
                    raise InputError(f"{prefix}{field.name} is {value:g}, but must be {must}")


def _ranges(hint: Any) -> list[Range]:
    found = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Range)]
    for inner in typing.get_args(hint):
        if hasattr(inner, "__metadata__"):
            found += _ranges(inner)
    return found
