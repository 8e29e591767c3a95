"""The steps whose cost is measured, each with the gradients that it must take (the table of costs in the theory page)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ofmu.core import ascent, descent
from ofmu.core.derivatives import make
from ofmu.core.phi import Penalty, Phi
from ofmu.core.problem import Problem
from ofmu.core.similarity import SquaredHinge
from ofmu.engine.loss import BatchLoss
from ofmu.engine.optimiser import TwoSided
from ofmu.engine.task import Task
from ofmu.losses import nll

Step = Callable[[], Any]

ACTIVE = Phi(beta=0.5, similarity="cosine", scale="relative", trust=1.0)
"""Always active, so that every curvature is computed."""

INACTIVE = replace(ACTIVE, similarity=SquaredHinge(1.0))
"""A hinge that no cosine reaches."""


@dataclass(frozen=True)
class Form:
    """A step, or a round of several.

    Args:
        what: `reference`, `inner`, `outer` or `round`.
        gradients: evaluations of one loss with its gradient that it takes once steps of differences are known.
        start: from a task to the step, ready to be repeated.
        units: cost in gradients by the count of matrix products, where exact derivatives make it more.
        pairs: T + 1, the paired steps that a round is held against; 1 for a step.
        eager: whether the attention must have second derivatives.
    """

    what: Literal["reference", "inner", "outer", "round"]
    gradients: float
    start: Callable[[Task], Step]
    units: float | None = None
    pairs: int = 1
    eager: bool = False


def forms() -> dict[str, Form]:
    """Name → form, cheap ones first within each kind."""
    return {
        "gradients": Form("reference", 2, _bare),
        "paired step": Form("reference", 2, _method("grad_diff")),
        "inner, C7 inactive": Form("inner", 2, _inner(INACTIVE)),
        "inner, C8 projected": Form("inner", 2, _inner(replace(ACTIVE, step="projected"))),
        "inner, C2 forward": Form("inner", 4, _inner(ACTIVE)),
        "inner, C1 central": Form("inner", 6, _inner(ACTIVE, central=True)),
        "inner, C0 exact": Form("inner", 2, _inner(ACTIVE, "exact"), units=6, eager=True),
        "outer, no penalty": Form("outer", 1, _outer(ACTIVE, rho=0.0)),
        "outer, C7 inactive": Form("outer", 3, _outer(INACTIVE)),
        "outer, C2 forward": Form("outer", 8, _outer(ACTIVE)),
        "outer, C1 central": Form("outer", 18, _outer(ACTIVE, central=True)),
        "outer, C0 exact": Form("outer", 2, _outer(ACTIVE, "exact"), units=18, eager=True),
        "round, default": Form("round", 2, _method("ofmu", objective={"name": "nll"}), pairs=2),
        "round of 5, C2 forward": Form("round", 28, _round(), pairs=6),
        "round of 5, C7 inactive": Form("round", 8, _round(similarity="squared_hinge", margin=1.0), pairs=6),
        "round of 5, C8 projected": Form("round", 11, _round(step="projected"), pairs=6),
    }


@dataclass
class _Bench:
    """What the steps of core share: the losses on one pair of batches, and an optimiser."""

    task: Task
    problem: Problem = field(init=False)
    optimiser: TwoSided = field(init=False)

    def __post_init__(self) -> None:
        task = self.task

        def loss(side: str) -> BatchLoss:
            return task.loss(lambda rows, _: nll(rows), task.draw(side), "tokens")

        self.problem = Problem(
            task.parameters, loss("forget"), loss("retain"), dict(task.model.named_buffers())
        )
        self.optimiser = TwoSided(task.parameters)

    def derivatives(self, name: str, central: bool) -> Any:
        options: dict[str, Any] = {} if name == "exact" else {"central": central}
        if name != "exact" and self.task.processes.precision == "bf16":
            options["noise"] = 1e-2
        return make(name, self.task.parameters, self.problem.buffers, **options)


def _bare(task: Task) -> Step:
    """Both losses, forward and backward, and nothing else."""
    problem = _Bench(task).problem

    def step() -> None:
        for loss in (problem.forget, problem.retain):
            for part in loss:
                part().backward()
            for p in task.parameters.values():
                p.grad = None

    return step


def _inner(phi: Phi, name: str = "finite_difference", *, central: bool = False) -> Callable[[Task], Step]:
    def start(task: Task) -> Step:
        bench = _Bench(task)
        derivatives = bench.derivatives(name, central)

        def step() -> None:
            seen = ascent.inner(bench.problem, phi, derivatives)
            bench.optimiser.ascend(seen.gradient, task.pace.now(), 0.2)

        return step

    return start


def _outer(
    phi: Phi, name: str = "finite_difference", *, central: bool = False, rho: float = 0.2
) -> Callable[[Task], Step]:
    def start(task: Task) -> Step:
        bench = _Bench(task)
        derivatives = bench.derivatives(name, central)
        penalty = Penalty(rho=rho, scale="relative", guard=True)

        def step() -> None:
            found = descent.outer(bench.problem, phi, derivatives, penalty)
            bench.optimiser.descend(found.gradient, task.pace.now())

        return step

    return start


def _method(name: str, **options: Any) -> Callable[[Task], Step]:
    def start(task: Task) -> Step:
        from ofmu.runs import stored

        method = stored.build("unlearn", {"model": "m", "method": {"name": name, **options}}).method.resolved()
        return method.start(task).step

    return start


def _round(**options: Any) -> Callable[[Task], Step]:
    """T = 5 and one outer step, β and ρ positive, conflict looked for on the step's own batch."""
    given = {"similarity": "cosine", "retain_direction": "fresh", "rho": 0.2, "inner_steps": 5, **options}
    return _method("ofmu", objective={"name": "nll"}, **given)
