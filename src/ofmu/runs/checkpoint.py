"""Checkpoints: whole or not there, at most two, and the pointer to the newest is written last."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from ofmu.errors import InputError, RunError
from ofmu.runs.directory import write_text

POINTER = "latest"
KEPT = 2


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a state under a temporary name, flush it to disk, rename it, move the pointer, drop older ones.

        Args:
            step: steps taken.
            state: nested dicts and lists of tensors and plain values.

        Raises:
            RunError: the disk is full or cannot be written; the checkpoints before stay as they were.
        """
        path = self.folder / f"step-{step:08d}.pt"
        temporary = path.with_suffix(".tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            write_text(self.folder / POINTER, path.name + "\n")
        except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
            temporary.unlink(missing_ok=True)
            last = self.latest()
            kept = f"the checkpoint {last} is still good" if last else "there was none before"
            raise RunError(f"the checkpoint of step {step} could not be written ({_reason(error)}); {kept}") from error
        self._drop_older()
        return path

    def latest(self) -> Path | None:
        """The newest whole checkpoint; None if there is none."""
        pointer = self.folder / POINTER
        if not pointer.is_file():
            return None
        path = self.folder / pointer.read_text(encoding="utf-8").strip()
        return path if path.is_file() else None

    def load(self) -> dict[str, Any] | None:
        """The newest state (on the CPU); None if there is none. Nothing but tensors and plain values is read.

        Raises:
            InputError: there are checkpoints, but all of them are damaged.
        """
        pointer = self.folder / POINTER
        if not pointer.is_file():
            return None
        newest = pointer.read_text(encoding="utf-8").strip()
        for path in sorted((path for path in self.folder.glob("step-*.pt") if path.name <= newest), reverse=True):
            try:
                if _is_whole(path):
                    return torch.load(path, map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
                continue  # damaged: the one before may be whole
        raise InputError(
            f"no checkpoint in {self.folder} can be read, so that this run cannot go on; start again with another "
            f"--output, or remove {self.folder.parent} first"
        )

    def remove(self) -> None:
        """Delete all of them: the run has finished, and they still know the data."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _drop_older(self) -> None:
        for path in sorted(self.folder.glob("step-*.pt"))[:-KEPT]:
            path.unlink()
        for path in self.folder.glob("*.tmp"):
            path.unlink()


def _is_whole(path: Path) -> bool:
    """Whether every part has the checksum that it was written with; torch itself reads over a flipped bit."""
    with zipfile.ZipFile(path) as parts:
        return parts.testzip() is None


def _reason(error: BaseException) -> str:
    """The system's own words; torch hides them in the error's context."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__context__
    return str(error).splitlines()[0]
