"""The steps whose cost is measured, each with the gradients that it must take (the cost table of the theory page)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ofmu.core import ascent, descent
from ofmu.core.curvature import Secant
from ofmu.core.derivatives import Derivatives
from ofmu.core.phi import Penalty, Phi
from ofmu.core.problem import Problem, parts
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
    """Name → form, cheap ones first within each kind; C0 to C8 as in the table of costs."""
    no_retain = replace(ACTIVE, retain_curvature=False)
    return {
        "gradients": Form("reference", 2, _bare),
        "paired step": Form("reference", 2, _method("grad_diff")),
        "inner C5 held": Form("inner", 1, _inner(ACTIVE, held=True)),
        "inner C7 inactive": Form("inner", 2, _inner(INACTIVE)),
        "inner C8 projected": Form("inner", 2, _inner(replace(ACTIVE, step="projected"))),
        "inner C6 without H_r": Form("inner", 3, _inner(no_retain)),
        "inner C2 forward": Form("inner", 4, _inner(ACTIVE)),
        "inner C1 central": Form("inner", 6, _inner(ACTIVE, "central")),
        "inner C0 exact": Form("inner", 2, _inner(ACTIVE, "exact"), units=6, eager=True),
        "outer no penalty": Form("outer", 1, _outer(ACTIVE, rho=0.0)),
        "outer C7 inactive": Form("outer", 3, _outer(INACTIVE)),
        "outer C4 secant": Form("outer", 4, _outer(ACTIVE, secant=True)),
        "outer C6 without H_r": Form("outer", 6, _outer(no_retain)),
        "outer C2 forward": Form("outer", 8, _outer(ACTIVE)),
        "outer C1 central": Form("outer", 18, _outer(ACTIVE, "central")),
        "outer C3 exact and forward": Form(
            "outer", 4, _outer(ACTIVE, "exact", y="finite_difference"), units=12, eager=True
        ),
        "outer C0 exact": Form("outer", 2, _outer(ACTIVE, "exact"), units=18, eager=True),
        "round default": Form("round", 2, _method("ofmu", objective={"name": "nll"}, margin=1.0), pairs=1),
        "round default in conflict": Form("round", 5, _method("ofmu", objective={"name": "nll"}, margin=-1.0), pairs=1),
        "round default with penalty": Form(
            "round", 12, _method("ofmu", objective={"name": "nll"}, margin=-1.0, rho=0.2), pairs=1
        ),
        "round of 5 C7 inactive": Form(
            "round", 8, _round(similarity="squared_hinge", margin=1.0, retain_direction="last"), pairs=6
        ),
        "round of 5 C8 projected": Form("round", 11, _round(step="projected"), pairs=6),
        "round of 5 C4 and C5": Form("round", 12, _frugal, pairs=6),
        "round of 5 C4 secant": Form("round", 24, _round(derivatives="secant"), pairs=6),
        "round of 5 C2 forward": Form("round", 28, _round(), pairs=6),
    }


@dataclass
class _Bench:
    """What the steps of the core share: the losses on one pair of batches, and an optimiser."""

    task: Task
    problem: Problem = field(init=False)
    optimiser: TwoSided = field(init=False)

    def __post_init__(self) -> None:
        task = self.task

        def loss(side: str) -> BatchLoss:
            return task.loss(lambda rows, _: nll(rows), task.draw(side), "tokens")

        self.problem = Problem(task.parameters, loss("forget"), loss("retain"), dict(task.model.named_buffers()))
        self.optimiser = TwoSided(task.parameters)

    def derivatives(self, name: str) -> Derivatives:
        return self.task.derivatives(name)


def _bare(task: Task) -> Step:
    """Both losses, forward and backward, and nothing else."""
    problem = _Bench(task).problem

    def step() -> None:
        for loss in (problem.forget, problem.retain):
            for part in parts(loss):
                part().backward()
            for p in task.parameters.values():
                p.grad = None

    return step


def _inner(phi: Phi, name: str = "finite_difference", *, held: bool = False) -> Callable[[Task], Step]:
    def start(task: Task) -> Step:
        bench = _Bench(task)
        derivatives = bench.derivatives(name)
        before = ascent.inner(bench.problem, phi, derivatives) if held else None

        def step() -> None:
            seen = ascent.inner(bench.problem, phi, derivatives, held=before, lean=not held)
            bench.optimiser.ascend(seen.gradient, task.pace.now(), 0.2)

        return step

    return start


def _outer(
    phi: Phi, name: str = "finite_difference", *, y: str | None = None, rho: float = 0.2, secant: bool = False
) -> Callable[[Task], Step]:
    def start(task: Task) -> Step:
        bench = _Bench(task)
        derivatives = bench.derivatives(name)
        penalty = Penalty(
            rho=rho, scale="relative", guard=True, derivatives=None if y is None else bench.derivatives(y)
        )
        led_here = None
        if secant:
            led_here = Secant(ascent.only(ascent.inner(bench.problem, phi, derivatives), gradient=True), 1e-3)

        def step() -> None:
            found = descent.outer(bench.problem, phi, derivatives, penalty, secant=led_here, lean=True)
            bench.optimiser.descend(found.gradient, task.pace.now())

        return step

    return start


def _frugal(task: Task) -> Step:
    """T = 5: D of the first inner step serves all, and the penalty's curvature is the secant of the last one."""
    bench = _Bench(task)
    derivatives = bench.derivatives("finite_difference")
    penalty = Penalty(rho=0.2, scale="relative", guard=True)

    def step() -> None:
        lr = task.pace.now()
        seen = ascent.inner(bench.problem, ACTIVE, derivatives)
        bench.optimiser.ascend(seen.gradient, lr, 0.2, 1 / 5)
        for _ in range(4):
            seen = ascent.inner(bench.problem, ACTIVE, derivatives, held=seen)
            bench.optimiser.ascend(seen.gradient, lr, 0.2, 1 / 5)
        found = descent.outer(bench.problem, ACTIVE, derivatives, penalty, secant=Secant(seen, 0.2 * lr / 5))
        bench.optimiser.descend(found.gradient, lr)

    return step


def _method(name: str, **options: Any) -> Callable[[Task], Step]:
    def start(task: Task) -> Step:
        from ofmu.runs import stored

        built: Any = stored.build("unlearn", {"model": "m", "method": {"name": name, **options}})
        return built.method.resolved().start(task).step

    return start


def _round(**options: Any) -> Callable[[Task], Step]:
    """T = 5 and one outer step, β and ρ positive, conflict looked for on the step's own batch."""
    given = {"similarity": "cosine", "retain_direction": "fresh", "rho": 0.2, "inner_steps": 5, **options}
    return _method("ofmu", objective={"name": "nll"}, **given)
