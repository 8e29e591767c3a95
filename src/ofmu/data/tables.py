"""Rows as every container gives them, before anybody asks what they mean."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ofmu.errors import InputError

Row = Mapping[str, Any]


def _row_number(row: int) -> str:
    return f"row {row}"


@dataclass(frozen=True)
class Table:
    """Rows with named columns.

    Args:
        source: file, folder or name of what was read, as the user knows it.
        rows: one mapping a row; a row may lack columns that others have.
        place: says where row i stands, after the source: ``"row 3"`` (rows count from 0) or ``"line 4"``.
        class_names: names of the integer labels, where the container knows them, by column.
    """

    source: str
    rows: Sequence[Row]
    place: Callable[[int], str] = _row_number
    class_names: Mapping[str, tuple[str, ...]] | None = None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of all rows, in the order in which they first come."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def error(self, row: int, what: str) -> InputError:
        """An error that names the file and the row."""
        place = self.place(row)
        where = (
            f"{self.source}:{place.removeprefix('line ')}" if place.startswith("line ") else f"{self.source}, {place}"
        )
        return InputError(f"{where}: {what}")

    def cell(self, row: int, column: str) -> Any:
        """The value of a cell; a column that this row lacks is an error that names it."""
        try:
            return self.rows[row][column]
        except KeyError:
            raise self.error(row, f"no column '{column}'{nearest([column], self.rows[row])}") from None

    def text(self, row: int, column: str) -> str:
        """The text of a cell; a finite number is its digits, nothing is "".

        Not-a-number stands for a missing text in tables of pandas: it is refused, as the infinities are.
        """
        value = self.cell(row, column)
        if value is None:
            return ""
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(row, f"column '{column}' is {value} (a missing value?), but must be text")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(row, f"column '{column}' is {kind(value)}, but must be text")
        return str(value)


def kind(value: Any) -> str:
    """What a value is, in the words of a data file."""
    names = {dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing" if value is None else f"of type {type(value).__name__}")


def nearest(missing: Iterable[str], found: Collection[str]) -> str:
    """A hint for the first missing column that a present one resembles, or "".

    >>> nearest(["answer"], ["question", "anwser"])
    " (did you mean 'anwser' to be 'answer'?)"
    """
    lower = {name.lower(): name for name in found}
    for name in missing:
        near = difflib.get_close_matches(name, lower, n=1, cutoff=0.6)
        if near:
            return f" (did you mean '{lower[near[0]]}' to be '{name}'?)"
    return ""
