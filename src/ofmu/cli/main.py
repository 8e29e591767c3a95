"""The entry of the command line: what the libraries may say, what signals do, and how every command ends."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from ofmu.version import __version__

HUSHED = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
"""Settings that keep libraries from talking into our output; what the user has set stays."""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        words: the words after ``ofmu``; those of this process if left out.

    Returns:
        The exit code: 0 done, 1 failed on the way, 2 input that cannot be used, 130 interrupted.
    """
    given = list(sys.argv[1:] if words is None else words)
    if given == ["--version"]:
        print(__version__)
        return 0
    from ofmu.cli import failures

    _make_printable()
    try:
        with _hushed(), _stoppable():
            return _run(given)
    except BrokenPipeError:  # the reader has gone: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failures.FAILED
    except (Exception, KeyboardInterrupt) as error:  # the one place where everything ends in a line and a code
        code, line = failures.exit_code(error), failures.reason(error)
        if os.environ.get("OFMU_TRACEBACK"):
            traceback.print_exc()
        _say_failure(code, line, as_object="--json" in given)
        return code


def _run(given: list[str]) -> int:
    from ofmu.cli.app import prepare

    app, words = prepare(given)
    ended = app(words, exit_on_error=False, print_error=False)
    return ended if isinstance(ended, int) else 0


def _say_failure(code: int, line: str, *, as_object: bool) -> None:
    """Of several processes the first speaks; another one only of what happened to itself alone."""
    from ofmu.cli.failures import FAILED
    from ofmu.cli.voice import rank

    if rank() == 0 or code == FAILED:
        print(f"ofmu: {line}" if rank() == 0 else f"ofmu, process {rank()}: {line}", file=sys.stderr)
    if rank() == 0 and as_object:
        print(json.dumps({"error": {"exit_code": code, "message": line}}, ensure_ascii=False))


def _make_printable() -> None:
    """A stream that cannot show a letter (ρ, ∇) shows its code instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _hushed() -> Iterator[None]:
    """Libraries' bars, hints and warnings are not ours; what a user must know is said by us."""
    for name, value in HUSHED.items():
        os.environ.setdefault(name, value)
    loggers = [logging.getLogger(name) for name in ("torch", "transformers", "datasets", "peft", "accelerate")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Inside, a polite kill stops a command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
