"""Does unlearning an image that is hard to forget cost more of the rest? Single digits, a small network, three methods.

Each image is unlearned alone, from the same trained network, until its loss is that of a guess, log 10. Its difficulty
is how well it was known: minus its loss before. What it costs is how far the loss of the retained images has risen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from ofmu import ranges
from ofmu.ranges import Range

if TYPE_CHECKING:
    from ofmu.core import Problem

STEP: Final = 0.02
"""η of every method's ascent and descent, so that all of them stop equally close to the level."""
LEVEL: Final = math.log(10)
SHARED: Final[dict[str, Any]] = {"inner_steps": 1, "outer_lr": STEP, "lambda_eff": 1.0}
METHODS: Final[dict[str, dict[str, Any] | None]] = {
    "grad_ascent": None,
    "grad_diff": {**SHARED, "beta": 0.0, "rho": 0.0},
    "ofmu": SHARED,
}
"""Options of `ofmu.core.solve`, whose defaults are relative scale, β = ½ of the forget gradient, ρ and the guard."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """`ofmu bench coupling`."""

    images: Annotated[int, Range(ge=4, le=20)] = 20
    """Images, each unlearned alone."""
    seeds: Annotated[int, Range(ge=1, le=20)] = 2
    """Networks, differing in their first weights."""
    most: Annotated[int, Range(ge=1)] = 1000
    """Rounds after which an image counts as not forgotten."""
    output: str | None = None
    """File for the result. Left out: nothing is kept."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Unlearn every image by every method, and correlate.

    Args:
        options: what to do.
        tell: is told what is going on.

    Returns:
        ``tables``: a row for each seed and method, with the rank correlation of difficulty and cost, its p-value, the
        mean cost, and the gradients spent; ``options``.

    Raises:
        InputError: an option cannot be used.
    """
    import json
    from pathlib import Path

    from scipy.stats import spearmanr

    from ofmu.benchmarks.plain import plain

    ranges.check(options)
    rows = []
    for seed in range(options.seeds):
        for method in METHODS:
            tell(f"seed {seed}: {method}")
            found = [_unlearned(seed, image, method, options.most) for image in range(options.images)]
            known, costs, gradients, forgotten = zip(*found, strict=True)
            correlation: Any = spearmanr(known, costs)
            rows.append(
                {
                    "seed": seed,
                    "method": method,
                    "rank correlation": float(correlation.statistic),
                    "p": float(correlation.pvalue),
                    "mean rise of L_r": sum(costs) / len(costs),
                    "largest rise of L_r": max(costs),
                    "gradients an image": sum(gradients) / len(gradients),
                    "not forgotten": len(found) - sum(forgotten),
                }
            )
    told = {name: value for name, value in asdict(options).items() if name != "output"}
    result = plain({"benchmark": "coupling", "tables": {"difficulty and cost": rows}, "options": told})
    if options.output is not None:
        Path(options.output).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def _unlearned(seed: int, image: int, method: str, most: int) -> tuple[float, float, int, bool]:
    """(minus the loss before, rise of L_r, gradients, whether the level was reached) of one image."""
    from ofmu.benchmarks.convergence_problems import single_image

    problem, forget, retain = single_image(seed, image)
    known, before, gradients = -forget(), retain(), 0
    for gradients in _walk(problem, METHODS[method], most):
        if forget() >= LEVEL:
            return known, retain() - before, gradients, True
    return known, retain() - before, gradients, False


def _walk(problem: Problem, options: dict[str, Any] | None, most: int) -> Iterator[int]:
    """Rounds of a method; the gradients spent after each."""
    from ofmu.core import FiniteDifference, SolveOptions, Vector, solve

    if options is not None:
        for seen in solve(problem, SolveOptions(rounds=most, **options)):
            yield seen.gradients
        return
    derivatives = FiniteDifference(problem.parameters)
    for k in range(most):
        Vector(problem.parameters).add_(derivatives.gradient(problem.forget), STEP)
        yield k + 1
