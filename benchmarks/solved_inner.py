"""The inner problem solved to a tolerance before each outer step, as a method of one's own; for `ablation.py`.

    min over θ of L_r  subject to  θ maximises L_f                                              (2), without similarity

One step is one gradient: ascent on L_f = −F while the mean of the last batches' F is above `tolerance` of what it was
at first, else one descent on L_r. F is the two-sided level of the mean, which ends at 0, so that "solved" means
something.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

from torch import Tensor

from ofmu.core.vector import number
from ofmu.engine.forward import Batch
from ofmu.engine.loss import Reduction
from ofmu.engine.method import Method, Process, StepRecord
from ofmu.engine.objective import Objective, forget_objective
from ofmu.engine.optimiser import TwoSided
from ofmu.engine.task import Task
from ofmu.losses import Rows, nll
from ofmu.ranges import Range

REMEMBERED = 4
"""Batches whose mean F is held against the tolerance."""


@dataclass(frozen=True, kw_only=True)
class SolvedInner(Method):
    """θ ← θ + λ η P ∇L_f until F ≤ tolerance · F_0, then θ ← θ − η P ∇L_r, once; P is Adam's, one for each loop."""

    name: ClassVar[str] = "solved_inner"
    paper: ClassVar[str] = "arXiv 2509.22483, its problem (2)"
    cost: ClassVar[str] = "1 gradient a step"

    tolerance: Annotated[float, Range(gt=0, lt=1)] | None = 0.1
    """Share of F at the start at which the inner problem counts as solved; None: one inner step for each outer one."""
    lambda_eff: Annotated[float, Range(gt=0)] = 0.2
    """An inner step's size, as a multiple of an outer one's."""

    def gradients_a_step(self) -> float:
        """One."""
        return 1.0

    def start(self, task: Task) -> Process:
        """Begin on a task."""
        return _Turns(task, self)


@final
class _Turns(Process):
    """Whose turn it is, decided before each gradient."""

    def __init__(self, task: Task, method: SolvedInner):
        self._task, self._method = task, method
        self._derivatives = task.derivatives()
        self._optimiser = TwoSided(task.parameters, states="two")
        self._lowered, per = forget_objective(task, Objective(name="level"))
        self._per: Reduction = per
        self._first: float | None = None
        self._last: list[float] = []
        self._ascends = True

    def step(self) -> StepRecord:
        """One gradient of one loss, and its step."""
        return self._up() if self._ascends else self._down()

    def _up(self) -> StepRecord:
        loss = self._task.loss(self._raised, self._task.draw("forget"), self._per)
        w = self._derivatives.gradient(loss)
        self._task.before_edit()
        self._optimiser.ascend(w, self._task.pace.now(), self._method.lambda_eff)
        objective = -loss.value
        self._first = objective if self._first is None else self._first
        self._last = [*self._last, objective][-REMEMBERED:]
        self._ascends = not self._solved()
        norm = number(w.norm())
        return StepRecord(loss.nll, None, None, norm, None, {"norm_phi": norm, "forget_objective": objective})

    def _down(self) -> StepRecord:
        loss = self._task.loss(lambda rows, _: nll(rows), self._task.draw("retain"), "tokens")
        g_r = self._derivatives.gradient(loss)
        self._task.before_edit()
        self._optimiser.descend(g_r, self._task.pace.now())
        self._ascends = True
        return StepRecord(None, loss.nll, None, 0.0, number(g_r.norm()), {})

    def _raised(self, rows: Rows, batch: Batch) -> Tensor:
        return -self._lowered(rows, batch)

    def _solved(self) -> bool:
        tolerance = self._method.tolerance
        return tolerance is None or statistics.fmean(self._last) <= tolerance * (self._first or 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Moments, the values of F that are remembered, and whose turn it is."""
        held = {"first": self._first, "last": list(self._last), "ascends": self._ascends}
        return {"optimiser": self._optimiser.state_dict(), "derivatives": self._derivatives.state_dict(), **held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._derivatives.load_state_dict(state["derivatives"])
        self._first, self._last, self._ascends = state["first"], list(state["last"]), state["ascends"]
