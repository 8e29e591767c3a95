"""TOFU, one model: what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ofmu.evaluation.record import Record


@dataclass(frozen=True)
class Measured:
    """One model on all sets.

    Args:
        name: its row in the tables.
        role: ``original``, ``retrained``, ``base`` or ``unlearned``.
        records: set or view → record.
        source: where the model is.
    """

    name: str
    role: str
    records: Mapping[str, Record] = field(repr=False)
    source: str = ""
