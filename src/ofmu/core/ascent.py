"""The inner, ascending half of Algorithm 1: w = ∇Φ = g_f − β (H_f p + H_r q), equation (7)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from ofmu.core import derivatives as backends
from ofmu.core import similarity as similarities
from ofmu.core.derivatives import Derivatives
from ofmu.core.problem import Problem
from ofmu.core.similarity import Similarity
from ofmu.core.vector import Vector, number
from ofmu.errors import InputError, RunError

EPSILON_SHARE: Final = 0.1
"""ε of (9) as a share of the reference scale."""

Scale = Literal["raw", "relative"]
Step = Literal["full", "projected"]


@dataclass(frozen=True)
class Inner:
    """One inner (ascent) gradient and what it was made of; vectors share storage where they are equal.

    Args:
        gradient: w = ∇Φ, or C8's d where the step is projected.
        g_f: ∇L_f.
        g_r: ∇L_r.
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
    *,
    similarity: str | Similarity = "cosine",
    beta: float,
    derivatives: str | Derivatives = "exact",
    scale: Scale = "raw",
    step: Step = "full",
    reference_scale: float | None = None,
    trust: float | None = None,
) -> Inner:
    """∇Φ at the current parameters: w = g_f − β D, D = H_f p + H_r q.

    Costs, in gradients of one loss: 4 by forward differences, 6 by central ones or exactly; 2 where β = 0,
    where the similarity is inactive (C7), or where the step is projected (C8).

    Args:
        problem: parameters and losses.
        similarity: a name or an object.
        beta: β ≥ 0. Raw: in units of loss. Relative: ‖βD‖ as a share of a, (50), at most ``trust``.
        derivatives: a name or an object; an object remembers step lengths from call to call.
        scale: ``raw`` (the paper) or ``relative``.
        step: ``full``, or ``projected``: d = g_f − max(0, c) a v, without any curvature (C8); β is not used.
        reference_scale: a typical gradient norm of the run; a tenth of it becomes ε of (9). None: ε = 0.
        trust: largest ‖βD‖/a allowed (> 0). None: 1 in relative scale, no limit in raw scale.

    Returns:
        The gradient and its ingredients; to hold β over a round, pass ``beta`` of the result back in raw
        scale.

    Raises:
        InputError: β negative, or a name unknown.
        RunError: a gradient is not finite.
    """
    check_weights(beta=beta, trust=trust, reference_scale=reference_scale)
    derivatives = derivatives_of(derivatives, problem)
    similarity = similarity_of(similarity)
    derivatives.refresh()
    if step == "projected":
        return _projected(problem, derivatives)
    epsilon = EPSILON_SHARE * (reference_scale or 0.0)
    return detached(ascend(problem, similarity, beta, derivatives, epsilon, scale, trust))


def ascend(
    problem: Problem,
    similarity: Similarity,
    beta: float,
    derivatives: Derivatives,
    epsilon: float,
    scale: Scale = "raw",
    trust: float | None = None,
) -> Inner:
    """Equation (7), kept differentiable for the outer gradient."""
    g_f = derivatives.gradient(problem.forget, differentiable=True)
    g_r = derivatives.gradient(problem.retain, differentiable=True)
    a, b = finite_norm(g_f, "forget"), finite_norm(g_r, "retain")
    c = number(g_f.dot(g_r)) / (a * b) if a * b > 0 else 0.0

    s = similarity.slope(g_f, g_r, epsilon=epsilon)
    if beta == 0 or not s.active:
        return Inner(g_f, g_f, g_r, a, b, c, 0.0, beta if scale == "raw" else 0.0, False)

    p = s.p(g_f, g_r)
    D = derivatives.product(lambda: derivatives.gradient(problem.forget), p, at=g_f, key="forget", differentiable=True)
    del p  # a vector of the model's size
    q = s.q(g_f, g_r)
    D = D + derivatives.product(
        lambda: derivatives.gradient(problem.retain), q, at=g_r, key="retain", differentiable=True
    )
    del q

    norm_D = finite_norm(D, "similarity")
    beta = _absolute_beta(beta, a, norm_D, scale, trust)
    share = beta * norm_D / a if a > 0 else (math.inf if beta * norm_D > 0 else 0.0)
    return Inner(g_f.plus(D, -beta), g_f, g_r, a, b, c, share, beta, True)


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


def _absolute_beta(beta: float, a: float, norm_D: float, scale: Scale, trust: float | None) -> float:
    """β by (50) in relative scale; in both, not so large that ‖βD‖ > trust · a."""
    if norm_D == 0:
        return beta if scale == "raw" else 0.0
    if scale == "relative":
        return min(beta, 1.0 if trust is None else trust) * a / norm_D
    return beta if trust is None else min(beta, trust * a / norm_D)


def finite_norm(vector: Vector, what: str) -> float:
    """‖vector‖, or an error that says which gradient was not finite."""
    norm = number(vector.norm())
    if not math.isfinite(norm):
        raise RunError(f"the {what} gradient is not finite (its norm is {norm}): the run has diverged")
    return norm


def detached(inner: Inner) -> Inner:
    """The same without a graph, so that activations are freed."""
    return replace(inner, gradient=inner.gradient.detach(), g_f=inner.g_f.detach(), g_r=inner.g_r.detach())


def similarity_of(similarity: str | Similarity) -> Similarity:
    """The similarity itself, or the one of that name."""
    return similarities.make(similarity) if isinstance(similarity, str) else similarity


def derivatives_of(derivatives: str | Derivatives, problem: Problem) -> Derivatives:
    """The back-end itself, or a new one of that name for this problem."""
    if isinstance(derivatives, str):
        return backends.make(derivatives, problem.parameters, problem.buffers)
    return derivatives


def check_weights(**weights: float | None) -> None:
    """Raise unless every weight is None or a finite number ≥ 0; names the first that is not."""
    for name, value in weights.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} is {value:g}, but must be a finite number >= 0")
