"""Options of a run that exclude each other, found before anything is written."""

from __future__ import annotations

from ofmu.engine.rounds.settings import Settings
from ofmu.errors import InputError


def check(settings: Settings, world: int) -> None:
    """Raise for the first fault, and say what to do about it.

    Args:
        settings: of the run.
        world: number of processes.

    Raises:
        InputError: one line, with the options as users know them.
    """
    for fault, words in _faults(settings, world):
        if fault:
            raise InputError(words)


def _faults(s: Settings, world: int) -> list[tuple[bool, str]]:
    exact = s.derivatives == "exact"
    return [
        (
            s.base == "literal",
            "base literal takes the outer step where the round began, with the gradients of that place, so that its "
            "inner steps have no effect; use sequential or anchored",
        ),
        (
            s.base == "anchored" and s.outer_steps > 1,
            f"base anchored has one outer step, but outer_steps is {s.outer_steps}: a second one would no longer see "
            "the inner steps; use base sequential",
        ),
        (exact and world > 1, "derivatives exact works in one process only; use finite_difference for several"),
        (
            s.debias == "halves" and (exact or world > 1),
            "debias halves needs gradients by finite_difference in one process; use moving",
        ),
    ]
