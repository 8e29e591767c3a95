"""``ofmu verify``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ofmu.cli.failures import DONE, FAILED
from ofmu.cli.flags import Switch
from ofmu.cli.voice import Voice


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for."""
    return given, verify


def verify(run: Path, /, *, json: Switch = False, quiet: Switch = False) -> int:
    """Check every hash of a run; exit code 1 if something was changed, is missing or was added.

    Args:
        run: Folder of a finished run.
        json: Print one JSON object.
        quiet: Print nothing but the path of the run if it is whole, or what is wrong with it.
    """
    from ofmu.runs import manifest

    with Voice(json=json, quiet=quiet) as voice:
        problems = manifest.verify(run)
        if problems:
            voice.problems([f"{run}: {problem}" for problem in problems])
        else:
            voice.say(f"{run}: every file is as it was written")
        voice.result({"command": "verify", "run": str(run), "problems": problems}, None if problems else run)
    return FAILED if problems else DONE
