"""The outer, descending half of Algorithm 1: ∇F = g_r + 2ρ y, y = ∇²Φ w, w = ∇Φ, equation (10)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ofmu.core.ascent import (
    EPSILON_SHARE,
    Inner,
    Scale,
    Step,
    ascend,
    check_weights,
    derivatives_of,
    detached,
    finite_norm,
    similarity_of,
)
from ofmu.core.derivatives import Derivatives
from ofmu.core.guard import curvature_along, guarded
from ofmu.core.problem import Problem
from ofmu.core.schedule import stability_cap
from ofmu.core.similarity import Similarity
from ofmu.core.vector import Vector, number


@dataclass(frozen=True)
class Outer:
    """One outer (descent) gradient and what it was made of.

    Args:
        gradient: ∇F = g_r + penalty.
        inner: ∇Φ at the same parameters; None where ρ = 0.
        penalty: 2ρy, guarded where asked for; None where ρ = 0.
        kappa: κ = wᵀy/‖w‖²; None where ρ = 0 or w = 0. Positive: the bare penalty would undo forgetting.
        guarded: whether the guard changed y.
        rho: the absolute ρ that was used.
        curvature: λ̂ = ‖y‖/‖w‖ ≥ 0.
    """

    gradient: Vector
    inner: Inner | None
    penalty: Vector | None
    kappa: float | None
    guarded: bool
    rho: float
    curvature: float


def outer(
    problem: Problem,
    *,
    similarity: str | Similarity = "cosine",
    beta: float,
    rho: float,
    derivatives: str | Derivatives = "exact",
    scale: Scale = "raw",
    rho_scale: Scale | None = None,
    step: Step = "full",
    guard: bool = False,
    reference_scale: float | None = None,
    trust: float | None = None,
    max_rho: float | None = None,
    outer_lr: float | None = None,
) -> Outer:
    """∇F = g_r + 2ρ y, y = ∇²Φ w, w = ∇Φ, at the current parameters.

    Costs, in gradients: 8 by forward differences, 18 by central ones or exactly; 3 (forward) where the
    similarity is inactive, for then y = H_f g_f; 1 where ρ = 0 or the step is projected (C8 has no penalty).

    Args:
        problem: parameters and losses.
        similarity: as in :func:`inner`.
        beta: as in :func:`inner`.
        rho: ρ ≥ 0. Raw: in units of inverse curvature. Relative: ‖2ρy‖ as a share of b, (51).
        derivatives: as in :func:`inner`.
        scale: of β and ρ both.
        rho_scale: of ρ alone, where it differs: β is held over a round, in raw scale, while ρ may be
            relative.
        step: as in :func:`inner`.
        guard: take out of y what would undo forgetting (43).
        reference_scale: as in :func:`inner`.
        trust: as in :func:`inner`.
        max_rho: the largest absolute ρ allowed; None for no limit.
        outer_lr: η_out; caps ρ at the stable 1/(2η_out λ̂²) of (31). None: no such cap (the paper).

    Returns:
        The gradient and its ingredients.

    Raises:
        InputError: a weight negative, or a name unknown.
        RunError: a gradient is not finite.
    """
    check_weights(beta=beta, rho=rho, trust=trust, reference_scale=reference_scale)
    check_weights(max_rho=max_rho, outer_lr=outer_lr)
    derivatives = derivatives_of(derivatives, problem)
    similarity = similarity_of(similarity)
    derivatives.refresh()
    if rho == 0 or step == "projected":
        g_r = derivatives.gradient(problem.retain)
        finite_norm(g_r, "retain")
        return Outer(g_r, None, None, None, False, 0.0, 0.0)

    epsilon = EPSILON_SHARE * (reference_scale or 0.0)
    here = ascend(problem, similarity, beta, derivatives, epsilon, scale, trust)
    y = _penalty_direction(problem, similarity, derivatives, epsilon, here)
    here = detached(here)
    w, g_r = here.gradient, here.g_r

    kappa = curvature_along(w, y)
    norm_y = finite_norm(y, "penalty")
    curvature = 0.0 if kappa is None else norm_y / number(w.norm())
    if (rho_scale or scale) == "relative":
        rho = rho * here.b / (2 * norm_y) if norm_y > 0 else 0.0
    rho = min(rho, math.inf if max_rho is None else max_rho)
    if outer_lr is not None:
        rho = min(rho, stability_cap(outer_lr, curvature))

    fires = guard and kappa is not None and kappa > 0
    penalty = (guarded(w, y, kappa) if fires else y).mul_(2 * rho)
    return Outer(g_r + penalty, here, penalty, kappa, fires, rho, curvature)


def _penalty_direction(
    problem: Problem, similarity: Similarity, derivatives: Derivatives, epsilon: float, here: Inner
) -> Vector:
    """y: ∇²Φ w with β held; where the similarity is inactive Φ is L_f, and one product of g_f will do."""
    w = here.gradient.detach()
    if not here.active:
        return derivatives.product(lambda: derivatives.gradient(problem.forget), w, at=here.g_f, key="ascent")

    def nabla_phi() -> Vector:
        return ascend(problem, similarity, here.beta, derivatives, epsilon).gradient

    share = min(1.0, here.curvature * here.a / norm_w) if (norm_w := number(w.norm())) > 0 else 1.0
    return derivatives.product(nabla_phi, w, at=here.gradient, key="phi", share=share)
