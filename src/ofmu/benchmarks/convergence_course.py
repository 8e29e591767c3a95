"""One run of the algorithm on a known problem: what is left of each condition, round by round."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from ofmu.benchmarks.convergence_problems import Known
from ofmu.core import SolveOptions, solve

PLAIN: Final[dict[str, Any]] = {
    "beta": 0.0,
    "scale": "raw",
    "guard": False,
    "stable": False,
    "derivatives": "exact",
}
"""The paper's form, with the similarity off."""


@dataclass(frozen=True)
class Point:
    """Where a run is after some rounds; every number is computed by automatic differentiation, without the core.

    Args:
        rounds: k, how many rounds were taken.
        gradients: evaluations of one loss with its gradient so far.
        descent: ‖∇F‖ at the run's ρ, without noise.
        stationarity: ‖∇Φ‖, without noise.
        retain_gradient: ‖∇L_r‖.
        distance: ‖θ − θ*‖ to the bi-level solution; None where that is not known.
        shortfall: max L_f − L_f ≥ 0: what is not forgotten yet.
        retain_loss: L_r.
        travelled: length of the way so far, summed over rounds.
    """

    rounds: int
    gradients: int
    descent: float
    stationarity: float
    retain_gradient: float
    distance: float | None
    shortfall: float
    retain_loss: float
    travelled: float


def course(
    known: Known,
    options: SolveOptions,
    *,
    at: Sequence[int] | None = None,
    sigma: float = 0.0,
    seed: int = 0,
    budget: int | None = None,
) -> list[Point]:
    """The points of a run after the rounds ``at``, by default after 1, 2, 4, … and the last.

    Args:
        known: the problem.
        options: of :func:`ofmu.core.solve`; raw scale.
        at: numbers of rounds, rising.
        sigma: size of the gradient noise.
        seed: of the noise.
        budget: end with the round that reaches so many gradients, whose point is then the last; None for no end.
    """
    problem, theta = known.problem(sigma, seed)
    wanted = set(powers(options.rounds) if at is None else at)
    before, travelled, found = theta.detach().clone(), 0.0, []
    for seen in solve(problem, options):
        travelled += float((theta.detach() - before).norm())
        before = theta.detach().clone()
        spent = budget is not None and seen.gradients >= budget
        if spent or seen.k + 1 in wanted:
            found.append(_point(known, before, seen.k + 1, seen.gradients, seen.rho, travelled))
        if spent:
            break
    return found


def powers(last: int) -> list[int]:
    """1, 2, 4, … up to ``last``, and ``last``.

    >>> powers(10)
    [1, 2, 4, 8, 10]
    """
    found = list(itertools.takewhile(lambda n: n <= last, (2**i for i in itertools.count())))
    return found if found[-1] == last else [*found, last]


def slope(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """The exponent e of y ∝ xᵉ by least squares in logarithms; None with fewer than two positive points.

    >>> slope([1, 2, 4], [3, 12, 48])
    2.0
    """
    pairs = [(math.log(x), math.log(y)) for x, y in zip(xs, ys, strict=True) if x > 0 and y > 0]
    if len(pairs) < 2:
        return None
    mean_x, mean_y = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in pairs)
    return None if spread == 0 else round(sum((x - mean_x) * (y - mean_y) for x, y in pairs) / spread, 12)


def best_so_far(values: Sequence[float]) -> Iterator[float]:
    """The smallest value up to each place."""
    return itertools.accumulate(values, min)


def penalised_gradient(known: Known, theta: Tensor, rho: float) -> tuple[Tensor, Tensor, Tensor]:
    """(∇F, ∇Φ, ∇L_r) at a point, by automatic differentiation of L_f, L_r and ½‖∇L_f‖²."""
    theta = theta.detach().requires_grad_()
    (g_f,) = torch.autograd.grad(known.forget(theta), theta, create_graph=True)
    (y,) = torch.autograd.grad(g_f @ g_f / 2, theta)
    (g_r,) = torch.autograd.grad(known.retain(theta), theta)
    return g_r + 2 * rho * y, g_f.detach(), g_r


def _point(known: Known, theta: Tensor, rounds: int, gradients: int, rho: float, travelled: float) -> Point:
    descent, w, g_r = penalised_gradient(known, theta, rho)
    return Point(
        rounds=rounds,
        gradients=gradients,
        descent=float(descent.norm()),
        stationarity=float(w.norm()),
        retain_gradient=float(g_r.norm()),
        distance=None if known.solution is None else float((theta - known.solution).norm()),
        shortfall=known.highest - float(known.forget(theta)),
        retain_loss=float(known.retain(theta)),
        travelled=travelled,
    )
