"""The inner, ascending half of Algorithm 1: w = ∇Φ = g_f − β (H_f p + H_r q), equation (7), of the Φ of (1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ofmu.core import derivatives as backends
from ofmu.core.derivatives import Derivatives
from ofmu.core.phi import Phi
from ofmu.core.problem import Problem
from ofmu.core.vector import Vector, number
from ofmu.errors import RunError


@dataclass(frozen=True)
class Inner:
    """One inner (ascent) gradient and what it was made of; vectors share storage where they are equal.

    Args:
        gradient: w = ∇Φ, or C8's d where the step is projected.
        g_f: ∇L_f; no entries where it was let go.
        g_r: ∇L_r; likewise.
        a: ‖g_f‖ ≥ 0.
        b: ‖g_r‖ ≥ 0.
        c: their cosine, −1 … 1; 0 where a or b is 0. Biased towards 0 by batch noise.
        curvature: ‖βD‖/a ≥ 0, the share of the similarity term in the step.
        beta: the absolute β that was used; 0 where the similarity was inactive in relative scale.
        active: whether the similarity (or the projection) had a say.
    """

    gradient: Vector
    g_f: Vector
    g_r: Vector
    a: float
    b: float
    c: float
    curvature: float
    beta: float
    active: bool


def inner(
    problem: Problem,
    phi: Phi,
    derivatives: str | Derivatives = "exact",
    *,
    held: Inner | None = None,
    forget: Vector | None = None,
    retain: Vector | None = None,
    lean: bool = False,
) -> Inner:
    """∇Φ at the current parameters: w = g_f − β D, D = H_f p + H_r q.

    Costs, in gradients of one loss: 4 by forward differences, 6 by central ones or exactly; 2 where β = 0,
    where the similarity is inactive (C7), or where the step is projected (C8); 3 (forward) without H_r q (C6), 2 with
    a retain gradient given; 1 with D held (C5).

    Args:
        problem: parameters and losses.
        phi: Φ.
        derivatives: a name or an object; an object remembers step lengths from call to call.
        held: an earlier inner gradient, whose βD, g_r and β are used again (C5): only g_f is computed.
        forget: g_f, where it is known already; one gradient less.
        retain: a retain gradient from elsewhere, taken as constant: it is not computed, and D is H_f p alone.
        lean: g_r is let go where it has served: the product of H_r then takes its place, a vector less is held, and
            the result has none.

    Returns:
        The gradient and its ingredients; to hold β over a round, pass ``beta`` of the result back in raw
        scale.

    Raises:
        InputError: a name is unknown.
        RunError: a gradient is not finite.
    """
    derivatives = derivatives_of(derivatives, problem)
    derivatives.refresh()
    if phi.step == "projected":
        return _projected(problem, derivatives)
    if held is not None:
        return _with_held_curvature(problem, derivatives, held)
    return ascend(problem, phi, derivatives, forget=forget, retain=retain, lean=lean)


def ascend(
    problem: Problem,
    phi: Phi,
    derivatives: Derivatives,
    *,
    forget: Vector | None = None,
    retain: Vector | None = None,
    lean: bool = False,
    differentiable: bool = False,
) -> Inner:
    """Equation (7); ``differentiable`` keeps its graph, for the outer gradient."""
    whole = problem.part is None  # then the gradients serve the products too
    g_f = derivatives.gradient(problem.forget, differentiable=whole) if forget is None else forget
    g_r = derivatives.gradient(problem.retain, differentiable=whole) if retain is None else retain
    a, b = finite_norm(g_f, "forget"), finite_norm(g_r, "retain")
    c = number(g_f.dot(g_r)) / (a * b) if a * b > 0 else 0.0
    result = Inner(g_f, g_f, g_r, a, b, c, 0.0, phi.beta if phi.scale == "raw" else 0.0, False)
    if phi.beta == 0:
        return result if differentiable else detached(result)

    flat = (g_f, g_r) if differentiable else (g_f.detach(), g_r.detach())
    s = phi.measure.slope(*flat, epsilon=phi.epsilon)
    if not s.active:
        return result if differentiable else detached(result)

    curved = problem if problem.part is None else problem.part
    D = derivatives.curvature(
        curved.forget, s.along_p(*flat), at=g_f if whole else None, key="forget", differentiable=differentiable
    )
    if phi.retain_curvature and retain is None:
        spend = lean and derivatives.overwritable
        of_retain = derivatives.curvature(
            curved.retain,
            s.along_q(*flat),
            at=g_r if whole else None,
            key="retain",
            differentiable=differentiable,
            spend=spend,
        )
        if spend:
            result = replace(result, g_r=Vector())
        D = D.add_(of_retain) if derivatives.overwritable else D + of_retain
        del of_retain  # a vector of the model's size

    norm_D = finite_norm(D, "similarity")
    beta = _absolute_beta(phi, a, norm_D)
    share = beta * norm_D / a if a > 0 else (math.inf if beta * norm_D > 0 else 0.0)
    w = D.mul_(-beta).add_(g_f) if derivatives.overwritable else g_f.plus(D, -beta)
    result = replace(result, gradient=w, curvature=share, beta=beta, active=True)
    return result if differentiable else detached(result)


def _with_held_curvature(problem: Problem, derivatives: Derivatives, held: Inner) -> Inner:
    """C5: w = g_f − (βD of an earlier step)."""
    g_f = derivatives.gradient(problem.forget)
    a = finite_norm(g_f, "forget")
    c = number(g_f.dot(held.g_r)) / (a * held.b) if a * held.b > 0 else 0.0
    share = held.curvature * held.a / a if a > 0 else 0.0
    w = (held.gradient - held.g_f).add_(g_f) if held.active else g_f
    return replace(held, gradient=w, g_f=g_f, a=a, c=c, curvature=share)


def _projected(problem: Problem, derivatives: Derivatives) -> Inner:
    g_f, g_r = derivatives.gradient(problem.forget), derivatives.gradient(problem.retain)
    a, b = finite_norm(g_f, "forget"), finite_norm(g_r, "retain")
    c = number(g_f.dot(g_r)) / (a * b) if a * b > 0 else 0.0
    return projected(Inner(g_f, g_f, g_r, a, b, c, 0.0, 0.0, False))


def projected(seen: Inner) -> Inner:
    """C8: d = g_f − max(0, c) a v, the ascent direction without its part along g_r where that is positive.

    Args:
        seen: both gradients, their norms and cosine.
    """
    c = seen.c
    d = seen.g_f.plus(seen.g_r, -c * seen.a / seen.b) if c > 0 else seen.g_f
    return replace(seen, gradient=d, curvature=max(c, 0.0), beta=0.0, active=c > 0)


def _absolute_beta(phi: Phi, a: float, norm_D: float) -> float:
    """β by (50) in relative scale; in both, not so large that ‖βD‖ > trust · a."""
    if norm_D == 0:
        return phi.beta if phi.scale == "raw" else 0.0
    if phi.scale == "relative":
        return min(phi.beta, 1.0 if phi.trust is None else phi.trust) * a / norm_D
    return phi.beta if phi.trust is None else min(phi.beta, phi.trust * a / norm_D)


def finite_norm(vector: Vector, what: str) -> float:
    """‖vector‖, or an error that says which gradient was not finite."""
    norm = number(vector.norm())
    if not math.isfinite(norm):
        raise RunError(f"the {what} gradient is not finite (its norm is {norm}): the run has diverged")
    return norm


def detached(inner: Inner) -> Inner:
    """The same without a graph, so that activations are freed."""
    return replace(inner, gradient=inner.gradient.detach(), g_f=inner.g_f.detach(), g_r=inner.g_r.detach())


def only(seen: Inner, *, gradient: bool = False, forget: bool = False) -> Inner:
    """The numbers, and of the vectors what is still needed; the others are let go.

    Args:
        seen: an inner gradient whose step has been taken.
        gradient: w stays.
        forget: g_f stays.
    """
    none = Vector()
    return replace(seen, gradient=seen.gradient if gradient else none, g_f=seen.g_f if forget else none, g_r=none)


def derivatives_of(derivatives: str | Derivatives, problem: Problem) -> Derivatives:
    """The back-end itself, or a new one of that name for this problem."""
    if isinstance(derivatives, str):
        return backends.make(derivatives, problem.parameters, problem.buffers)
    return derivatives
