"""Trackers that people already use, through Accelerate; the run's own history is always written besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ofmu.engine.processes import Processes
from ofmu.errors import InputError

Name = Literal["tensorboard", "trackio", "wandb"]


class Tracker:
    """Sends lines of the history to a tracker; to none if there is none.

    Args:
        name: `tensorboard`, `trackio`, `wandb` or None.
        processes: whose accelerator knows the trackers.
        folder: the run; tensorboard's files go to `tensorboard/` in it.
        settings: flat, shown by the tracker beside the curves.

    Raises:
        InputError: the tracker's package is not installed.
    """

    def __init__(self, name: Name | None, processes: Processes, folder: Path, settings: dict[str, Any]):
        self._accelerator = processes.accelerator if name is not None and processes.main else None
        if self._accelerator is None or name is None:
            return
        self._accelerator.project_configuration.logging_dir = str(folder)
        self._accelerator.log_with = [_known(name)]  # pyright: ignore[reportAttributeAccessIssue]
        flat = {key: value if isinstance(value, int | float | str) else str(value) for key, value in settings.items()}
        self._accelerator.init_trackers("tensorboard" if name == "tensorboard" else folder.name, config=flat)

    def log(self, line: dict[str, Any]) -> None:
        """One line of the history; what is not a number is left out."""
        if self._accelerator is None:
            return
        values = {**line, **{f"check/{key}": value for key, value in (line.get("checks") or {}).items()}}
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
        self._accelerator.log(numbers, step=line["step"])

    def close(self) -> None:
        """Flush and end."""
        if self._accelerator is not None:
            self._accelerator.end_training()


def _known(name: Name) -> Name:
    from accelerate.utils import is_tensorboard_available, is_trackio_available, is_wandb_available

    there = {
        "tensorboard": is_tensorboard_available,
        "trackio": is_trackio_available,
        "wandb": is_wandb_available,
    }
    if not there[name]():
        raise InputError(f"--log-to {name}: the package is not installed; pip install 'ofmu[{name}]'")
    return name
