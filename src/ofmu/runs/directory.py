"""A run's folder: refused if it holds something else, finished only when its manifest is there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ofmu.errors import InputError

CONFIG, MANIFEST, HISTORY, METRICS, REPORT = (
    "config.yaml",
    "manifest.json",
    "history.jsonl",
    "metrics.json",
    "report.html",
)


class RunDirectory:
    """Paths of a run, and what state it is in.

    Args:
        path: the folder; need not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.config = self.path / CONFIG
        self.manifest = self.path / MANIFEST
        self.history = self.path / HISTORY
        self.metrics = self.path / METRICS
        self.report = self.path / REPORT
        self.records = self.path / "records"
        self.model = self.path / "model"
        self.checkpoints = self.path / "checkpoints"
        self.cache = self.path / "cache"

    @property
    def finished(self) -> bool:
        """Whether the run has ended well: the manifest is written last."""
        return self.manifest.is_file()

    def check_new(self, *, resumable: bool = True) -> None:
        """Make sure that a new run may be written here; nothing is created.

        Args:
            resumable: whether a stopped run of this kind can be gone on with.

        Raises:
            InputError: the folder holds something, is a file, or cannot be written.
        """
        if self.path.is_file():
            raise InputError(f"output {self.path} is a file; give a folder that is empty or does not exist")
        if self.path.is_dir() and any(self.path.iterdir()):
            if self.finished:
                raise InputError(f"output {self.path} holds a finished run; give another folder")
            if self.config.is_file() and not resumable:
                raise InputError(f"output {self.path} holds an evaluation that was stopped; give another folder")
            if self.config.is_file():
                raise InputError(
                    f"output {self.path} holds a run that was stopped; go on with --resume, give another folder, "
                    "or remove this one first"
                )
            raise InputError(f"output {self.path} holds something else; give a folder that is empty or new")
        parent = self.path if self.path.exists() else _nearest_parent(self.path)
        if not parent.is_dir():
            raise InputError(f"output {self.path} cannot be written: {parent} is a file; give a folder elsewhere")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise InputError(
                f"output {self.path} cannot be written: no permission in {parent}; give a folder elsewhere"
            )

    def check_resumable(self) -> None:
        """Make sure that a stopped run lies here.

        Raises:
            InputError: there is none, or it has finished.
        """
        if not self.config.is_file():
            raise InputError(f"{self.path} holds no run to resume (no {CONFIG})")
        if self.finished:
            raise InputError(f"the run in {self.path} has finished; there is nothing to resume")

    def create(self) -> None:
        """Make the folder.

        Raises:
            InputError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise InputError(f"output {self.path} cannot be written: {why}; give a folder elsewhere") from error


def _nearest_parent(path: Path) -> Path:
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    return parent


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is whole or not there: temporary name, flush, fsync, rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all; not-a-number is refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing or does not parse.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno} does not parse: {error.msg}") from error
