"""``ofmu report``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ofmu.cli.failures import DONE
from ofmu.cli.flags import Switch
from ofmu.cli.voice import Voice
from ofmu.errors import InputError


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for."""
    return given, report


def report(
    run: Path,
    /,
    *runs: Path,
    output: Path | None = None,
    attacks: Path | None = None,
    json: Switch = False,
    quiet: Switch = False,
) -> int:
    """Draw the report of runs again, each into a new HTML file; the runs stay untouched.

    Args:
        run: Folder of a finished run.
        runs: More of them.
        output: HTML file to write (of one run).
        attacks: Folder of attacks on the run, to be shown too; RUN-attacks if left out and there.
        json: Print one JSON object.
        quiet: Print nothing but the paths of the reports.
    """
    if output is not None and runs:
        raise InputError(f"--output names one file, but {1 + len(runs)} runs were given; leave it out")
    if attacks is not None and runs:
        raise InputError(f"--attacks names attacks on one run, but {1 + len(runs)} runs were given; leave it out")
    with Voice(json=json, quiet=quiet) as voice:
        from ofmu.runs.drawing import draw

        drawn = [draw(each, output, attacks) for each in (run, *runs)]
        for path in drawn:
            voice.say(f"report: {path}")
        voice.result({"command": "report", "reports": [str(path) for path in drawn]}, *drawn)
    return DONE
