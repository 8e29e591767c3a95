"""What went wrong, in one line, and the exit code that goes with it."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cyclopts import CycloptsError, UnusedCliTokensError

from ofmu.errors import InputError, RunError
from ofmu.report.words import clean
from ofmu.runs.directory import RunDirectory
from ofmu.runs.listener import Interrupted

DONE, FAILED, UNUSABLE, STOPPED = 0, 1, 2, 130
"""Exit codes: done; failed on the way; input that cannot be used; interrupted."""

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file may not grow larger (a size limit is set)",
}


class Stopped(Exception):
    """A run that ended before its end.

    Args:
        code: the exit code.
        line: what to say.
    """

    def __init__(self, code: int, line: str):
        super().__init__(line)
        self.code = code


@contextmanager
def underway(command: str, output: Path) -> Iterator[None]:
    """Around a run that can be resumed: what stops it is said with the command that goes on.

    Args:
        command: its name.
        output: the run's folder.

    Raises:
        Stopped: in the place of whatever stopped the run.
    """
    try:
        yield
    except (InputError, BrokenPipeError):
        raise
    except (Interrupted, KeyboardInterrupt) as error:
        place = error.checkpoint if isinstance(error, Interrupted) else None
        raise Stopped(STOPPED, interrupted(command, output, place)) from error
    except Exception as error:
        line = reason(error)
        raise Stopped(FAILED, line if _would_happen_again(line) else line + _how_to_go_on(command, output)) from error


def interrupted(command: str, output: Path, checkpoint: Path | None) -> str:
    """Where an interrupted run lies and what goes on with it."""
    on = f"go on with: {resume_command(command, output)}"
    if checkpoint is not None:
        return f"interrupted; the checkpoint is {checkpoint}; {on}"
    if is_resumable(output):
        return f"interrupted; what was done so far is in {output}; {on}"
    return "interrupted before the run had begun; nothing was written"


def exit_code(error: BaseException) -> int:
    """The exit code for what ended a command."""
    if isinstance(error, Stopped):
        return error.code
    if isinstance(error, InputError | CycloptsError):
        return UNUSABLE
    return STOPPED if isinstance(error, KeyboardInterrupt | Interrupted) else FAILED


def reason(error: BaseException) -> str:
    """What went wrong, on one line."""
    if isinstance(error, InputError | RunError | Stopped):
        return one_line(str(error))
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected word '{(error.unused_tokens or ['?'])[0]}'"
    if isinstance(error, CycloptsError):
        error.verbose = False
        return one_line(str(error))
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return "interrupted"
    number = _os_error(error)
    if number is not None:
        what = FULL.get(number, os.strerror(number).lower())
        file = error.filename if isinstance(error, OSError) else None
        return f"{file}: {what}" if file else what
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return "out of memory; try a smaller --micro-batch-size, --lora.rank 8 or --gradient-checkpointing"
    return f"{type(error).__name__}: {one_line(str(error))} (OFMU_TRACEBACK=1 shows where)"


def _os_error(error: BaseException) -> int | None:
    """The system's error number; libraries written in Rust (safetensors) state it in their words only."""
    if isinstance(error, OSError):
        return error.errno
    stated = re.search(r"\(os error (\d+)\)", str(error))
    return int(stated[1]) if stated else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch ran out of memory, on an accelerator or on the CPU (there it says so in words only)."""
    known = type(error).__name__ == "OutOfMemoryError" and type(error).__module__.startswith("torch")
    return known or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def is_resumable(output: Path) -> bool:
    """Whether a stopped run lies there."""
    run = RunDirectory(output)
    return run.config.is_file() and not run.finished


def resume_command(command: str, output: Path) -> str:
    """The command that goes on with a run."""
    return f"ofmu {command} --resume {shlex.quote(str(output))}"


def one_line(text: str) -> str:
    """The text on one line, without characters that a terminal would obey."""
    return clean(" ".join(text.split()))


def _would_happen_again(line: str) -> bool:
    """Whether going on with the run as it is leads to the same end: it diverged."""
    return "--learning-rate" in line


def _how_to_go_on(command: str, output: Path) -> str:
    return f"; go on with: {resume_command(command, output)}" if is_resumable(output) else ""
