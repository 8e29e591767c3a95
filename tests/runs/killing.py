"""The real command as a process of its own, and ways to end it at a chosen moment."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ofmu.cli.main import main
from toys import facts, save_llama, secrets, unseen, write_lines

PATIENCE = 240.0
"""Seconds after which a process that has not come to the moment waited for is given up."""

Moment = Callable[["Running"], bool]


class Forked:
    """A copy of this process that runs the command: a process of its own without the seconds of a fresh start."""

    def __init__(self, words: list[str], errors: Path, limit: Callable[[], None]):
        self._errors, self.returncode = errors, None
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                limit()
                sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
                sys.stderr = errors.open("w", buffering=1)
                code = main(words)
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self._pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        end = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < end, "the process did not end"
            time.sleep(0.01)
        return "", self._errors.read_text() if self._errors.exists() else ""


class Running:
    """A run of `ofmu unlearn` under way.

    Args:
        words: after `ofmu unlearn`.
        run: its folder.
        file_limit: largest file in bytes that it may write; None for any.
        fresh: start `python -m ofmu`; else a copy of this process.
    """

    def __init__(self, words: list[object], run: Path, *, file_limit: int | None = None, fresh: bool = False):
        self.run = run
        self._history = self._inode()

        def limit() -> None:
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))  # what `ulimit -f` does

        command = ["unlearn", *map(str, words)]
        if not fresh:
            self.process = Forked(command, run.with_name(f"{run.name}.err"), limit)
            return
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ofmu", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=limit,
        )

    def _inode(self) -> int | None:
        path = self.run / "history.jsonl"
        return path.stat().st_ino if path.exists() else None

    def steps(self) -> int:
        """Steps in the history so far; 0 while a resumed run has not yet cut off what its forerunner left."""
        if self._inode() == self._history:
            return 0
        return (self.run / "history.jsonl").read_text(encoding="utf-8").count("\n")

    def is_writing_a_checkpoint(self) -> bool:
        """Whether a checkpoint lies there under its temporary name."""
        return any((self.run / "checkpoints").glob("*.tmp"))

    def wait_for(self, moment: Moment, pause: float = 0.0) -> bool:
        """Until a moment has come: True; False if the run ended well before."""
        end = time.monotonic() + PATIENCE
        while not moment(self):
            if self.process.poll() is not None:
                code, error = self.ended()
                assert code == 0, error
                return False
            assert time.monotonic() < end, "the moment did not come"
            time.sleep(pause)
        return True

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Exit code and standard error, once it has ended."""
        _, error = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, error

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        self.send(signal.SIGKILL)
        assert self.ended()[0] == -signal.SIGKILL

    def kill_while_writing(self, least: int = 0) -> bool:
        """SIGKILL while a checkpoint is half-written, after `least` steps; False if the run ended first."""
        while self.wait_for(lambda found: found.steps() >= least) and self.wait_for(Running.is_writing_a_checkpoint):
            self.send(signal.SIGSTOP)  # only a stopped process can be looked at
            time.sleep(0.01)
            if self.is_writing_a_checkpoint():
                self.kill()
                return True
            self.send(signal.SIGCONT)
        return False


def given(folder: Path, steps: int = 16) -> list[object]:
    """A model, data and flags of a run of a few short steps with its method's whole state."""
    forget = write_lines(folder / "forget.jsonl", secrets())
    retain = write_lines(folder / "retain.jsonl", facts(range(9)))
    holdout = write_lines(folder / "holdout.jsonl", unseen())
    model = save_llama(folder / "llama", hidden_size=32)
    data = ["--model", model, "--forget", forget, "--retain", retain, "--holdout", holdout]
    data += ["--batch-size", 3, "--device", "cpu"]
    conflict = ["--method.margin", -1, "--method.rho", 0.1, "--method.rho-growth", 1.02]
    return [*data, *conflict, "--steps", steps, "--check-every", 3, "--checkpoint-steps", 2, "--learning-rate", 1e-3]


LORA = ["--lora.rank", 4]


def weights(run: Path) -> dict[str, str]:
    """Sha256 of every file of weights."""
    found = sorted((run / "model").glob("*.safetensors"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def last_checkpoint(run: Path) -> int:
    """The step of the newest whole checkpoint; 0 if there is none."""
    pointer = run / "checkpoints" / "latest"
    return int(pointer.read_text().strip().removeprefix("step-").removesuffix(".pt")) if pointer.exists() else 0


def history(run: Path) -> list[dict[str, Any]]:
    lines = (run / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def same_but_time(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Whether two histories agree in everything that is not measured by a clock."""
    return [{**line, "seconds": 0} for line in one] == [{**line, "seconds": 0} for line in other]


def random_moment(draw: random.Random, steps: int) -> tuple[str, Moment]:
    """A step at random, and what to call it."""
    step = draw.randrange(0, steps)
    return f"after step {step}", lambda running: running.steps() >= max(step, 1)
