"""The two ways in which a command can fail, told apart by their exit codes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """What the user gave cannot be used: one line, exit code 2, nothing written."""


class RunError(Exception):
    """A run failed on its way (divergence, full disk, out of memory): one line, exit code 1, folder resumable."""


def unknown(what: str, given: str, known: Iterable[str]) -> InputError:
    """The error for a name that does not exist, with the nearest one that does.

    >>> str(unknown("method", "nop", ["npo", "ofmu"]))
    "unknown method 'nop' (did you mean 'npo'?); there are: npo, ofmu"
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return InputError(f"unknown {what} '{given}'{hint}; there are: {', '.join(names)}")
