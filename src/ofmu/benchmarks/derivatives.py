"""Error and cost of every way to compute ∇Φ and y = ∇²Φ ∇Φ, on one's own model.

The referee is exact differentiation in float64, or central differences in float64 where an operation of the model
has no second derivative.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ofmu.benchmarks.derivatives_referee import Truth, cosine, error, rate_of, truth_of
from ofmu.benchmarks.derivatives_subject import Subject, material, problem_of
from ofmu.benchmarks.plain import plain
from ofmu.errors import InputError, RunError
from ofmu.ranges import Range, check

if TYPE_CHECKING:
    from ofmu.core import Derivatives, Inner, Outer, Phi, Problem, Vector
    from ofmu.engine.work import Work


@dataclass(frozen=True, kw_only=True)
class Options(Subject):
    """`ofmu bench derivatives`."""

    beta: Annotated[float, Range(gt=0, le=1)] = 0.5
    """Share of the similarity term in ∇Φ; at 1 it is as long as the forget gradient."""
    similarity: str = "cosine"
    """The similarity; one that is active at these batches."""
    inner_step: Annotated[float, Range(gt=0, lt=1)] = 1e-4
    """Length of the inner step whose secant is taken and over which D is held, as a share of the parameters' norm."""
    repeats: Annotated[int, Range(ge=1, le=100)] = 3
    """Timings of each form; the median is told."""
    referee: bool = True
    """Whether errors are measured: the referee takes several times the memory of a training step."""
    sweep: Annotated[int, Range(ge=0, le=8)] = 0
    """Steps h a decade for which the error of the differences is measured, a decade to either side of the automatic
    ones; 0 for the automatic ones alone."""
    output: str | None = None
    """Folder for the tables and the plot of the sweep. Left out: nothing is kept."""


FORMS = ("exact", "finite_difference", "central", "gauss_newton")
"""Back-ends that compute D themselves."""
ASCENTS = (*FORMS, "held (C5)", "no retain curvature (C6)", "half of the batch")
"""Ways to ∇Φ."""
DESCENTS = (
    *("exact", "finite_difference", "central", "exact, then forward (C3)", "secant (C4)"),
    *("no retain curvature (C6)", "given retain gradient", "half of the batch"),
)
"""Ways to y."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure all forms on the first batch of each set.

    Args:
        options: what to measure.
        tell: is told what is going on.

    Returns:
        ``tables``: for ∇Φ and for y a row a form with ``error`` (relative, 2-norm), ``cosine`` with the truth,
        ``evaluations`` (of one loss with its gradient, whatever products a back-end makes of them; exact
        forms make more, see ``ratio``), ``ratio`` (time in units of one gradient's; on a CPU the processor's time),
        ``h`` of each product as a share of ‖θ‖, and ``check`` (the self-check (21)); with a sweep the error at each
        step, and the automatic beside the smallest; ``facts`` of the point; ``options`` and ``files``.

    Raises:
        InputError: the model or the data cannot be used, or the two gradients are not in conflict enough for the
            similarity to act.
    """
    from ofmu.benchmarks.derivatives_sweep import tables_of, write
    from ofmu.core import Phi

    check(options)
    if options.sweep and not options.referee:
        raise InputError("--sweep needs the referee: leave out --no-referee")
    if options.output is not None and Path(options.output).is_file():
        raise InputError(f"output {options.output} is a file; give a folder")
    found = material(options)
    options = replace(options, batch=found.batch(options.batch))
    phi = Phi(beta=options.beta, similarity=options.similarity, scale="relative")
    truth = truth_of(found, options, phi, options.inner_step, tell) if options.referee else None
    with problem_of(found, options) as (problem, work):
        bench = _Bench(problem, work, phi, options, truth)
        tables = {
            "inner gradient": [bench.ascent(name, tell) for name in ASCENTS],
            "penalty": [bench.descent(name, tell) for name in DESCENTS],
        }
        swept = bench.swept(tell)
        facts = bench.facts()
    result = {
        "benchmark": "derivatives",
        "tables": tables | tables_of(swept),
        "facts": facts | {"referee": None if truth is None else truth.by},
        "options": {name: value for name, value in asdict(options).items() if name != "output"},
    }
    files = [] if options.output is None else write(Path(options.output), result, swept)
    return plain({**result, "files": files})


class _Bench:
    """The forms on one problem."""

    def __init__(self, problem: Problem, work: Work, phi: Phi, options: Options, truth: Truth | None) -> None:
        from ofmu.core import inner

        self.half, self.problem, self.work, self.options = problem, replace(problem, part=None), work, options
        self.truth = truth
        self.start = inner(self.problem, phi, self.backend("finite_difference"))
        beta = self.start.beta if truth is None else truth.beta
        self.phi: Phi = replace(phi, beta=beta, scale="raw")
        self.unit = self._seconds(lambda: self.backend("finite_difference").gradient(self.problem.forget))

    def backend(self, name: str) -> Derivatives:
        return self.work.derivatives(name)

    def ascent(self, name: str, tell: Callable[[str], None]) -> dict[str, Any]:
        """A row on ∇Φ."""
        from ofmu.core import inner

        tell(f"inner gradient, {name}")
        truth = self.truth
        fd = self.backend(name if name in FORMS else "finite_difference")
        if name == "held (C5)":
            before = inner(self.problem, self.phi, fd)
            with self._after_a_step(before):
                found = self._measured(lambda: inner(self.problem, self.phi, fd, held=before))
                return self._row(name, fd, found, lambda seen: seen.gradient, truth and truth.after)
        phi = replace(self.phi, retain_curvature=False) if name == "no retain curvature (C6)" else self.phi
        problem = self.half if name == "half of the batch" else self.problem
        found = self._measured(lambda: inner(problem, phi, fd))
        row = self._row(name, fd, found, lambda seen: seen.gradient, truth and truth.gradient)
        if truth is not None and "error" in row:
            seen: Inner = found["value"]
            row["error_D"] = error((seen.g_f - seen.gradient) * (1 / seen.beta), truth.D)
        return row

    def descent(self, name: str, tell: Callable[[str], None]) -> dict[str, Any]:
        """A row on y, with ρ = 1/2, so that the penalty is y itself."""
        from ofmu.core import Penalty, Secant, inner, outer

        tell(f"penalty, {name}")
        penalty = Penalty(rho=0.5)
        fd = self.backend(name if name in FORMS else "finite_difference")
        truth = None if self.truth is None else self.truth.curvature

        def y(seen: Outer) -> Vector:
            assert seen.penalty is not None
            return seen.penalty

        if name == "secant (C4)":
            before = inner(self.problem, self.phi, fd)
            with self._after_a_step(before) as rate:
                secant = Secant(before, rate)
                found = self._measured(lambda: outer(self.problem, self.phi, fd, penalty, secant=secant))
                return self._row(name, fd, found, y, truth)
        phi = replace(self.phi, retain_curvature=False) if name == "no retain curvature (C6)" else self.phi
        problem = self.half if name == "half of the batch" else self.problem
        retain = self.start.g_r if name == "given retain gradient" else None
        inner_by: Any = fd
        if name == "exact, then forward (C3)":
            penalty, inner_by = replace(penalty, derivatives=fd), self.backend("exact")
        found = self._measured(lambda: outer(problem, phi, inner_by, penalty, retain=retain))
        return self._row(name, fd, found, y, truth)

    def swept(self, tell: Callable[[str], None]) -> list[dict[str, Any]]:
        """Errors over steps around the automatic ones, by form and quantity; empty where no sweep is asked for."""
        from ofmu.benchmarks.derivatives_sweep import sweep
        from ofmu.core import FiniteDifference

        rows: list[dict[str, Any]] = []
        for name in ("finite_difference", "central") if self.options.sweep else ():
            backend = self.backend(name)
            assert isinstance(backend, FiniteDifference)
            assert self.truth is not None
            for row in sweep(self.problem, self.phi, backend, self.truth, self.options.sweep, tell):
                rows.append({"form": name, **row})
        return rows

    def facts(self) -> dict[str, Any]:
        """Where it was measured."""
        from ofmu.core import Vector

        theta = Vector(self.work.parameters)
        return {
            "parameters": sum(p.numel() for p in theta.values()),
            "norm_theta": float(theta.detach().norm()),
            "norm_forget": self.start.a,
            "norm_retain": self.start.b,
            "cosine": self.start.c,
            "beta": self.phi.beta,
            "seconds_of_a_gradient": self.unit,
        }

    def _after_a_step(self, before: Inner) -> Any:
        from contextlib import contextmanager

        from ofmu.core import Vector
        from ofmu.core.displacement import Displacement

        rate = rate_of(self.options.inner_step, before, Vector(self.work.parameters))

        @contextmanager
        def moved() -> Any:
            with Displacement(self.work.parameters).along(before.gradient, rate) as applied:
                yield applied

        return moved()

    def _measured(self, work: Callable[[], Any]) -> dict[str, Any]:
        """The value once its steps are found, evaluations of a loss with its gradient, and seconds."""
        try:
            work()
        except InputError as error:
            return {"refused": str(error)}
        meter = self.work.meter
        before = meter.gradient_examples
        value = work()
        spent = (meter.gradient_examples - before) / self.options.batch
        return {"value": value, "evaluations": spent, "seconds": self._seconds(work)}

    def _seconds(self, work: Callable[[], Any]) -> float:
        import torch

        on_device = self.options.device == "cuda"
        clock = time.perf_counter if on_device else time.process_time  # other programs' load is not ours
        times = []
        for _ in range(self.options.repeats):
            start = clock()
            work()
            if on_device:
                torch.cuda.synchronize()
            times.append(clock() - start)
        return statistics.median(times)

    def _row(
        self,
        name: str,
        backend: Derivatives,
        found: Mapping[str, Any],
        vector: Callable[[Any], Vector],
        truth: Vector | None,
    ) -> dict[str, Any]:
        if "refused" in found:
            return {"form": name, "refused": found["refused"]}
        row: dict[str, Any] = {"form": name}
        if truth is not None:
            seen = vector(found["value"])
            row |= {"error": error(seen, truth), "cosine": cosine(seen, truth)}
        row |= {"evaluations": found["evaluations"], "ratio": found["seconds"] / self.unit}
        return row | self._steps(backend, found["value"])

    def _steps(self, backend: Derivatives, value: Any) -> dict[str, Any]:
        """The automatic h of H_f p and of ∇²Φ w, as a share of ‖θ‖, and the self-check (21) of the former."""
        from ofmu.core import FiniteDifference, Vector

        if not isinstance(backend, FiniteDifference) or not backend.steps:
            return {}
        size = float(Vector(self.work.parameters).detach().norm())
        row: dict[str, Any] = {f"h {key}": h / size for key, h in backend.steps.items() if key != "retain"}
        if "forget" in backend.steps:
            p, _ = self.phi.measure.partials(self.start.g_f, self.start.g_r, epsilon=self.phi.epsilon)
            try:
                row["check"] = backend.discrepancy(lambda: backend.gradient(self.problem.forget), p, key="forget")
            except RunError as error:
                row["check"] = str(error)
        return row
