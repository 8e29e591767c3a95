"""How a run goes, for people: one live line on a terminal, a plain line every few seconds in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from ofmu.cli.plans import plan_lines
from ofmu.report.words import clean, count, duration, finite, number
from ofmu.runs.listener import Listener

EVERY_S = 5.0
"""Seconds between two lines in a pipe."""

SHOWN = {
    "forget_loss": "forget loss",
    "retain_loss": "retain loss",
    "similarity": "similarity",
    "rho": "ρ",
}
"""Key of a history line → what it is called."""


class Listening(Listener, Protocol):
    """A listener of runs that is a context: what it draws ends with the context."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class TimeLeft:
    """How long the remaining steps will take, by those seen so far.

    The first step seen only starts the clock: a resumed run has steps behind it that cost no time now.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def after(self, step: int, total: int) -> float | None:
        """Seconds left after a step; None as long as nothing can be said."""
        now = self._clock()
        if self._first is None:
            self._first = (step, now)
        first, began = self._first
        return (now - began) / (step - first) * max(total - step, 0) if step > first else None


def figures(line: Mapping[str, Any], left: float | None) -> str:
    """The figures of a step on one line; what a method does not have is left out, and a training has one loss."""
    names = SHOWN if line.get("forget_loss") is not None else SHOWN | {"retain_loss": "loss"}
    parts = [f"{name} {number(line[key])}" for key, name in names.items() if finite(line.get(key)) is not None]
    if finite(line.get("gradients")) is not None:
        parts.append(f"gradients {count(line['gradients'])}")
    if left is not None:
        parts.append(f"{duration(left)} left")
    return " · ".join(parts)


class Quiet:
    """Says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to end."""

    def started(self, plan: dict[str, Any]) -> None:
        """Nothing."""

    def step(self, line: dict[str, Any], total: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Plain:
    """Lines for a pipe or a log file: the first step, the last, and one every few seconds.

    Args:
        say: prints a line.
        clock: seconds.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self._say, self._clock = say, clock
        self._left = TimeLeft(clock)
        self._said_at: float | None = None
        self._unsaid = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say the last step, if it was not yet."""
        self._catch_up()

    def started(self, plan: dict[str, Any]) -> None:
        """Print the plan; the clock starts anew, for a run may train other models on its way."""
        self._catch_up()
        self._left = TimeLeft(self._clock)
        for line in plan_lines(plan):
            self._say(line)

    def step(self, line: dict[str, Any], total: int) -> None:
        """Print the step if it is time."""
        left = self._left.after(line["step"], total)
        self._unsaid = f"step {line['step']}/{total} · {figures(line, left)}"
        if self._said_at is None or self._clock() - self._said_at >= EVERY_S:
            self._catch_up()

    def note(self, text: str) -> None:
        """Print it, after the steps before it."""
        self._catch_up()
        self._say(text)

    def _catch_up(self) -> None:
        if self._unsaid:
            self._say(self._unsaid)
            self._unsaid, self._said_at = "", self._clock()


class Live:
    """One line on a terminal that changes, notes above it.

    Args:
        console: a terminal's.
    """

    def __init__(self, console: Console):
        self._console = console
        self._left = TimeLeft()
        self._progress = Progress(
            MofNCompleteColumn(),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=False)),  # a narrow window loses nothing
            console=console,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        self._progress.stop()

    def started(self, plan: dict[str, Any]) -> None:
        """Print the plan above the bar; the clock starts anew, for a run may train other models on its way."""
        self._left = TimeLeft()
        for line in plan_lines(plan):
            self.note(line)

    def step(self, line: dict[str, Any], total: int) -> None:
        """Move the bar."""
        if not self._progress.task_ids:
            self._progress.add_task("", total=total, figures="")
        left = self._left.after(line["step"], total)
        self._progress.update(
            self._progress.task_ids[0], completed=line["step"], total=total, figures=figures(line, left)
        )

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(Text(clean(text)))
