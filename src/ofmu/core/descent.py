"""The outer, descending half of Algorithm 1: ∇F = g_r + 2ρ y, y = ∇²Φ w, w = ∇Φ, equation (10)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ofmu.core.ascent import Inner, ascend, derivatives_of, detached, finite_norm
from ofmu.core.derivatives import Derivatives
from ofmu.core.guard import curvature_along, guarded
from ofmu.core.phi import Penalty, Phi
from ofmu.core.problem import Problem
from ofmu.core.schedule import stability_cap
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


def outer(problem: Problem, phi: Phi, derivatives: str | Derivatives, penalty: Penalty) -> Outer:
    """∇F = g_r + 2ρ y, y = ∇²Φ w, w = ∇Φ, at the current parameters.

    Costs, in gradients: 8 by forward differences, 18 by central ones or exactly; 3 (forward) where the
    similarity is inactive, for then y = H_f g_f; 1 where ρ = 0 or the step is projected (C8 has no penalty).
    A multiplier costs one product more: 4, 9 or, inactive, 1.

    Args:
        problem: parameters and losses.
        phi: Φ.
        derivatives: as in :func:`~ofmu.core.ascent.inner`.
        penalty: ρ and what limits it.

    Returns:
        The gradient and its ingredients.

    Raises:
        InputError: a name is unknown.
        RunError: a gradient is not finite.
    """
    derivatives = derivatives_of(derivatives, problem)
    derivatives.refresh()
    if penalty.rho == 0 or phi.step == "projected":
        g_r = derivatives.gradient(problem.retain)
        finite_norm(g_r, "retain")
        return Outer(g_r, None, None, None, False, 0.0, 0.0)

    here = ascend(problem, phi, derivatives)
    y = _along_phi(problem, phi, derivatives, here, here.gradient.detach(), "phi")
    pull = None
    if penalty.multiplier is not None:
        pull = _along_phi(problem, phi, derivatives, here, penalty.multiplier, "multiplier")
    return _descent(detached(here), y, penalty, pull)


def _descent(here: Inner, y: Vector, penalty: Penalty, pull: Vector | None = None) -> Outer:
    """(10) from w, g_r and y, or (56) with ``pull`` = ∇²Φ ν; y is overwritten."""
    w, g_r = here.gradient, here.g_r
    kappa = curvature_along(w, y)
    norm_y = finite_norm(y, "penalty")
    curvature = 0.0 if kappa is None else norm_y / number(w.norm())
    rho = _absolute_rho(penalty, here.b, norm_y, curvature, kappa)
    if pull is None:
        fires = penalty.guard and kappa is not None and kappa > 0
        term = (guarded(w, y, kappa) if fires else y).mul_(2 * rho)
    else:
        term = y.mul_(2 * rho).add_(pull)
        along = curvature_along(w, term)
        fires = penalty.guard and along is not None and along > 0
        term = guarded(w, term, along) if fires else term
    return Outer(g_r + term, here, term, kappa, fires, rho, curvature)


def _absolute_rho(penalty: Penalty, b: float, norm_y: float, curvature: float, kappa: float | None) -> float:
    """ρ by (51) in relative scale; in both, not above the ceiling, the stable range (31) and the cap by κ."""
    rho = penalty.rho
    if penalty.scale == "relative":
        rho = rho * b / (2 * norm_y) if norm_y > 0 else 0.0
    rho = min(rho, math.inf if penalty.max_rho is None else penalty.max_rho)
    if penalty.cap is not None and kappa is not None:
        rho = min(rho, penalty.cap(kappa))
    return rho if penalty.outer_lr is None else min(rho, stability_cap(penalty.outer_lr, curvature))


def _along_phi(
    problem: Problem, phi: Phi, derivatives: Derivatives, here: Inner, direction: Vector, key: str
) -> Vector:
    """∇²Φ · direction with β held; where the similarity is inactive Φ is L_f, and one product of g_f will do."""
    if not here.active:
        return derivatives.product(
            lambda: derivatives.gradient(problem.forget), direction, at=here.g_f, key=f"ascent {key}"
        )
    held = replace(phi, beta=here.beta, scale="raw", trust=None)

    def nabla_phi() -> Vector:
        return ascend(problem, held, derivatives).gradient

    norm_w = number(here.gradient.norm())
    share = min(1.0, here.curvature * here.a / norm_w) if norm_w > 0 else 1.0
    return derivatives.product(nabla_phi, direction, at=here.gradient, key=key, share=share)
