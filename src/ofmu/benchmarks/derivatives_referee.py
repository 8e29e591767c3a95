"""The referee of ∇Φ and y = ∇²Φ ∇Φ: exact derivatives in float64, or central differences where there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ofmu.benchmarks.derivatives_subject import Material, Subject, problem_of
from ofmu.errors import InputError

if TYPE_CHECKING:
    from ofmu.core import Inner, Phi, Vector


@dataclass(frozen=True)
class Truth:
    """What the referee found, in float64: ∇Φ, y, D and the absolute β, and ∇Φ after the inner step."""

    gradient: Vector
    curvature: Vector
    D: Vector
    after: Vector
    beta: float
    by: str


def truth_of(
    found: Material, subject: Subject, phi: Phi, inner_step: float, tell: Callable[[str], None] = lambda _: None
) -> Truth:
    """What the referee finds.

    Args:
        found: model and data.
        subject: the batches.
        phi: Φ, in relative scale.
        inner_step: as of :func:`rate_of`.
        tell: is told what is going on.

    Raises:
        InputError: the similarity is inactive at these batches.
    """
    from ofmu.core import FiniteDifference, Penalty, Vector, inner, outer

    with problem_of(found, subject, double=True) as (problem, _):
        problem = replace(problem, part=None)
        tell("referee, exact in float64")
        derivatives: Any = "exact"
        try:
            seen = outer(problem, phi, derivatives, Penalty(rho=0.5))
        except InputError as error:
            tell(f"referee, central differences in float64: {error}")
            # the float32 islands inside many models bound what a gradient is worth
            derivatives = FiniteDifference(problem.parameters, problem.buffers, central=True, noise=1e-8)
            seen = outer(problem, phi, derivatives, Penalty(rho=0.5))
        here, y = seen.inner, seen.penalty
        assert here is not None
        assert y is not None
        if not here.active:
            raise InputError("the similarity is inactive at these batches (no conflict): choose cosine, or other data")
        theta = Vector(problem.parameters)
        held = replace(phi, beta=here.beta, scale="raw")
        theta.add_(here.gradient, rate_of(inner_step, here, theta))
        after = inner(problem, held, derivatives).gradient
        D = (here.g_f - here.gradient) * (1 / here.beta)
        by = "exact, float64" if derivatives == "exact" else "central differences, float64"
        w, y, D, after = (Vector({n: x.cpu() for n, x in v.items()}) for v in (here.gradient, y, D, after))
        return Truth(w, y, D, after, here.beta, by)


def rate_of(inner_step: float, here: Inner, theta: Vector) -> float:
    """η of an inner step whose length is this share of the parameters' norm."""
    return inner_step * float(theta.detach().norm()) / float(here.gradient.norm())


def error(found: Vector, truth: Vector) -> float:
    """‖found − truth‖/‖truth‖."""
    return float((_wide(found) - truth).norm() / truth.norm())


def cosine(found: Vector, truth: Vector) -> float:
    """Of the angle between the two."""
    wide = _wide(found)
    return float(wide.dot(truth) / (wide.norm() * truth.norm()))


def _wide(vector: Vector) -> Vector:
    from ofmu.core import Vector

    return Vector({name: x.detach().cpu().double() for name, x in vector.items()})
