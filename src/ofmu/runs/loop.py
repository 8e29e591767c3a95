"""The loop of a run: steps, checks, history, checkpoints, and every way to stop."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from ofmu.core.vector import Vector
from ofmu.engine.method import Process, StepRecord
from ofmu.engine.task import Task
from ofmu.engine.work import Work
from ofmu.errors import RunError
from ofmu.models import sharding
from ofmu.runs.checkpoint import Checkpoints
from ofmu.runs.directory import RunDirectory
from ofmu.runs.history import History
from ofmu.runs.listener import Interrupted, Listener
from ofmu.runs.trackers import Tracker


@dataclass
class Loop:
    """Takes steps until the end.

    Args:
        run: the folder.
        task: what is done.
        process: the method under way.
        listener: is told every line.
        tracker: gets every line too.
        budget: most gradients; None for no limit.
        step_cost: gradients that a step usually takes.
        check_every: steps between checks; None for no checks.
        checkpoint_seconds: seconds between checkpoints.
        checkpoint_steps: steps between checkpoints, in the place of seconds.
    """

    run: RunDirectory
    task: Work
    process: Process
    listener: Listener
    tracker: Tracker
    budget: float | None
    step_cost: float
    check_every: int | None
    checkpoint_seconds: float
    checkpoint_steps: int | None
    seconds: float = 0.0
    resumed_at: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._history = History(self.run.history)
        self._checkpoints = Checkpoints(self.run.checkpoints)
        self._saved_at = time.monotonic()

    @property
    def main(self) -> bool:
        """Whether this rank writes."""
        return self.task.processes.main

    def resume(self) -> None:
        """Go on from the newest checkpoint; from the start if there is none."""
        state = self._checkpoints.load()
        step = 0 if state is None else state["step"]
        if self.main:
            self._history.cut_after(step)
        self.resumed_at = [*([] if state is None else state["resumed_at"]), step]
        if state is None:
            return
        parameters = self.task.parameters
        state = sharding.scatter(state, parameters)
        self.task.before_edit()
        with torch.no_grad():
            for name, value in state["parameters"].items():
                parameters[name].copy_(value)
            for name, value in state["buffers"].items():
                self._buffers()[name].copy_(value)
        torch.set_rng_state(state["generator"])
        if torch.cuda.is_available() and state["cuda_generators"]:
            torch.cuda.set_rng_state_all(state["cuda_generators"])
        self.task.load_state_dict(state["task"])
        self.process.load_state_dict(state["process"])
        self.seconds = state["seconds"]

    def go(self) -> None:
        """Take steps until the goal is reached and settled, the steps or the budget are spent.

        Raises:
            RunError: the run diverged or memory ran out; the newest checkpoint stays.
            Interrupted: the user stopped it; a checkpoint was written.
        """
        pace = self.task.pace
        with _interruptible() as asked:
            while not pace.ended:
                started = time.perf_counter()
                check = self._check() if self.check_every and pace.step % self.check_every == 0 else None
                lr = pace.now()
                record = self._step()
                pace.step += 1
                self._keep_to_budget()
                self.seconds += time.perf_counter() - started
                self._write(record, lr, check)
                stop = self.task.processes.anywhere(asked.is_set())
                if stop or pace.ended or self._due():
                    path = self._save()
                    if stop:
                        raise Interrupted(path)
        check = self.task.check().as_dict() if self.check_every and isinstance(self.task, Task) else None
        if self.main:
            self._history.append({"step": pace.step, "final": True, "checks": check})
            self.tracker.close()

    def cost(self) -> dict[str, Any]:
        """What the steps cost; checks, levels and references are forward passes, a third of a gradient each."""
        return {
            "gradients": self.task.meter.gradients,
            "forwards": self.task.meter.forwards,
            "seconds": round(self.seconds, 3),
            "steps": self.task.pace.step,
        }

    def ended(self) -> str:
        """How the run ended, in words."""
        if not isinstance(self.task, Task) or self.task.pace.fixed:
            return "all planned steps were taken"
        if self.task.pace.reached:
            return "forgetting reached its goal, and settled"
        return "not finished: the steps or the budget were spent before forgetting reached its goal"

    def forget_checkpoints(self) -> None:
        """Delete the checkpoints: the run is finished, and they still know the data."""
        self._checkpoints.remove()

    def _step(self) -> StepRecord:
        try:
            return self.process.step()
        except RunError as error:
            raise RunError(f"step {self.task.pace.step + 1}: {error}; {self._advice()}") from error
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"step {self.task.pace.step + 1}: out of memory; go on with --resume and a smaller --micro-batch-size"
            ) from error

    def _advice(self) -> str:
        last = self._checkpoints.latest()
        kept = f"the checkpoint {last} is kept" if last else "there was no checkpoint yet"
        return f"{kept}; start again with a lower --learning-rate (it was {self.task.pace.learning_rate:.2g})"

    def _check(self) -> dict[str, Any] | None:
        if not isinstance(self.task, Task):
            return None
        check = self.task.check()
        self.process.observe(check)
        if self.task.finished:
            self.task.pace.goal_reached()
        return check.as_dict()

    def _keep_to_budget(self) -> None:
        if self.budget is None:
            return
        pace, spent = self.task.pace, self.task.meter.gradients
        left = math.floor((self.budget - spent) / self.step_cost + 1e-9)
        pace.at_most(pace.step + max(0, left))

    def _write(self, record: StepRecord, lr: float, check: dict[str, Any] | None) -> None:
        for name in ("forget_loss", "retain_loss"):
            value = getattr(record, name)
            if value is not None and not math.isfinite(value):
                raise RunError(f"step {self.task.pace.step}: the {name} is {value}; {self._advice()}")
        line = {
            "step": self.task.pace.step,
            "forget_loss": record.forget_loss,
            "retain_loss": record.retain_loss,
            "similarity": record.similarity,
            "norm_forget": record.norm_forget,
            "norm_retain": record.norm_retain,
            **record.more,
            "learning_rate": lr,
            "gradients": self.task.meter.gradients,
            "forwards": self.task.meter.forwards,
            "seconds": round(self.seconds, 3),
        }
        if check is not None:
            line["checks"] = check
        if self.main:
            self._history.append(line)
            self.tracker.log(line)
            self.listener.step(line, self.task.pace.ends_at or self.task.pace.steps)

    def _buffers(self) -> dict[str, Any]:
        return dict(self.task.processes.unwrap(self.task.model).named_buffers())

    def _due(self) -> bool:
        if self.checkpoint_steps is not None:
            return self.task.pace.step % self.checkpoint_steps == 0
        due = time.monotonic() - self._saved_at >= self.checkpoint_seconds
        return bool(self.task.processes.agreed(due))

    def _save(self) -> Any:
        if not Vector(self.task.parameters).is_finite():
            raise RunError(f"step {self.task.pace.step}: the weights are no longer finite; {self._advice()}")
        state = sharding.gather(
            {
                "step": self.task.pace.step,
                "parameters": dict(self.task.parameters),
                "buffers": self._buffers(),
                "generator": torch.get_rng_state(),
                "cuda_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                "task": self.task.state_dict(),
                "process": self.process.state_dict(),
                "seconds": self.seconds,
                "resumed_at": self.resumed_at,
            }
        )
        path = self._checkpoints.save(self.task.pace.step, state) if self.main else None
        self._saved_at = time.monotonic()
        self.task.processes.wait()
        return path


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Inside, the first Ctrl-C (or a polite kill) only sets the event; a second one stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # signals are the main thread's
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
