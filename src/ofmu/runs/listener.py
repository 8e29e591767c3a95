"""Who is told how a run goes; the command line listens, Python code may."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Listener(Protocol):
    """Receives what a run has to say; on the main process only."""

    def started(self, plan: dict[str, Any]) -> None:
        """The plan, before the first step."""

    def step(self, line: dict[str, Any], total: int) -> None:
        """A line of the history, and the most steps there may be."""

    def note(self, text: str) -> None:
        """A warning or a stage of the work, in one line."""


class Silent:
    """Hears nothing."""

    def started(self, plan: dict[str, Any]) -> None:
        """Nothing."""

    def step(self, line: dict[str, Any], total: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Interrupted(Exception):
    """The user stopped a run; a checkpoint was left.

    Args:
        checkpoint: where it lies; None if the run had not begun.
    """

    def __init__(self, checkpoint: Path | None):
        super().__init__("interrupted")
        self.checkpoint = checkpoint
