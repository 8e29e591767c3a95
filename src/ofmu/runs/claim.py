"""A run's folder belongs to one run at a time.

Two runs in one folder would write the same temporary files and delete each other's. The lock is the system's own, on
the folder itself: it leaves no file behind, and it is gone with the process that held it, however that ended, so that
a run that was killed can be resumed at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from ofmu.engine.processes import Processes
from ofmu.errors import InputError
from ofmu.runs.directory import RunDirectory

_HELD = frozenset((errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES))


class Claim:
    """A context that holds what was taken in it; the first of several processes takes it for all.

    Args:
        folder: the run's.
        ranks: the processes of the run.
        held: the caller holds the folder already; nothing more is taken.
    """

    def __init__(self, folder: Path, ranks: Processes, *, held: bool = False):
        self._folder, self._ranks, self._held = folder, ranks, held
        self._handle: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def make(self, *, resumable: bool = True) -> None:
        """Make the folder of a new run, and take it.

        Args:
            resumable: whether a stopped run of this kind can be gone on with.

        Raises:
            InputError: it cannot be made, or another run has come between.
        """
        run = RunDirectory(self._folder)
        if self._ranks.main:
            run.create()
        self.take()
        if self._ranks.main:
            run.check_new(resumable=resumable)

    def take(self) -> None:
        """Take the folder, which must exist, or refuse.

        Raises:
            InputError: another process is at work in it; on every rank.
        """
        free = self._held or not self._ranks.main or self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        if self._ranks.anywhere(not free):
            raise InputError(
                f"another process is at work in {self._folder}; wait until it has ended, or give another folder"
            )

    def wait(self) -> None:
        """Take the folder, which must exist, once nobody else works in it."""
        if self._ranks.main:
            self._lock(fcntl.LOCK_EX)
        self._ranks.wait()

    def _lock(self, how: int) -> bool:
        """Whether the folder is ours; a file system that knows no locks on folders guards nothing, and stops nobody."""
        self._handle = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(self._handle, how)
        except OSError as error:
            return error.errno not in _HELD
        return True
