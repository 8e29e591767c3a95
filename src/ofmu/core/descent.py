"""The outer, descending half of Algorithm 1: ∇F = g_r + 2ρ y, y = ∇²Φ w, w = ∇Φ, equation (10), of the F of (3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ofmu.core.ascent import Inner, ascend, derivatives_of, finite_norm
from ofmu.core.curvature import Curvature, Secant, held
from ofmu.core.derivatives import Derivatives
from ofmu.core.guard import curvature_along, guarded
from ofmu.core.phi import Penalty, Phi
from ofmu.core.problem import Problem
from ofmu.core.schedule import stability_cap
from ofmu.core.vector import Vector, number
from ofmu.errors import InputError


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
    phi: Phi,
    derivatives: str | Derivatives,
    penalty: Penalty,
    *,
    secant: Secant | None = None,
    second: Problem | None = None,
    retain: Vector | None = None,
    lean: bool = False,
) -> Outer:
    """∇F = g_r + 2ρ y, y = ∇²Φ w, w = ∇Φ, at the current parameters.

    Costs, in gradients: 8 by forward differences, 18 by central ones or exactly, 12 with exact D and forward y (C3);
    3 (forward) where the similarity is inactive, for then y = H_f g_f; 1 where ρ = 0 or the step is projected (C8 has
    no penalty). With a secant those of one ∇Φ: 4 or 6 (C4). Without H_r q 6 (forward, C6), with a retain gradient
    given 5. A multiplier costs one product more: 4, 9 or, inactive, 1; a second pair of batches twice as much.

    Args:
        problem: parameters and losses.
        phi: Φ.
        derivatives: as in :func:`~ofmu.core.ascent.inner`.
        penalty: ρ and what limits it.
        secant: the inner step that led here, on the same batch; its β is held, and y is then (22) or (23).
        second: the same losses on batches drawn independently. One batch gives E‖ŵ‖² = ‖w‖² + tr Cov ŵ, so that its
            penalty also lowers the variance of ŵ; ½(∇²Φ₁ ŵ₂ + ∇²Φ₂ ŵ₁) (39) does not.
        retain: as in :func:`~ofmu.core.ascent.inner`, in the penalty; the descent's own g_r is computed here.
        lean: g_f of an active similarity is let go, which the step does not need; the result has none.

    Returns:
        The gradient and its ingredients.

    Raises:
        InputError: a name is unknown, the back-end cannot give y (``gauss_newton`` drops the sign that y needs,
            ``secant`` needs the inner step), or a secant is combined with what needs another product.
        RunError: a gradient is not finite.
    """
    derivatives = derivatives_of(derivatives, problem)
    derivatives.refresh()
    if penalty.rho == 0 or phi.step == "projected":
        g_r = derivatives.gradient(problem.retain)
        finite_norm(g_r, "retain")
        return Outer(g_r, None, None, None, False, 0.0, 0.0)

    if secant is None:
        curvature = Curvature(problem, phi, derivatives, penalty, retain=retain, lean=lean)
        other = None
        if second is not None:
            other = Curvature(second, phi, derivatives, penalty, retain=retain, like=curvature.here)
        here, y = _product(curvature, other)
        pull = None if penalty.multiplier is None else curvature.product(penalty.multiplier, "multiplier")
    else:
        if second is not None or penalty.multiplier is not None:
            raise InputError(
                "a secant is one product of one pair of batches: leave out the second pair and the multiplier"
            )
        here, y = _along_secant(ascend(problem, held(phi, secant.before), derivatives, retain=retain), secant, lean)
        pull = None
    if retain is not None:
        g_r = derivatives.gradient(problem.retain)
        here = replace(here, g_r=g_r, b=finite_norm(g_r, "retain"))
    return _descent(here, y, penalty, pull)


def _along_secant(here: Inner, secant: Secant, lean: bool) -> tuple[Inner, Vector]:
    """w, and y by (22)."""
    y = secant.product(here)
    return (replace(here, g_f=Vector()) if lean and here.active else here), y


def _product(one: Curvature, other: Curvature | None) -> tuple[Inner, Vector]:
    """Of one pair of batches w and y = ∇²Φ w; of two pairs of batches those of (39), everything else of the first."""
    here = one.here
    if other is None:
        return here, one.product(here.gradient, "phi")
    there = other.here
    y = one.product(there.gradient, "phi").add_(other.product(here.gradient, "phi")).mul_(0.5)
    g_r = (here.g_r + there.g_r).mul_(0.5)
    w = (here.gradient + there.gradient).mul_(0.5)
    return replace(here, gradient=w, g_r=g_r, b=finite_norm(g_r, "retain")), y


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
    """ρ by (51) in relative scale; in both, not above the stable range (31) and the cap by κ."""
    rho = penalty.rho
    if penalty.scale == "relative":
        rho = rho * b / (2 * norm_y) if norm_y > 0 else 0.0
    if penalty.cap is not None and kappa is not None:
        rho = min(rho, penalty.cap(kappa))
    return rho if penalty.outer_lr is None else min(rho, stability_cap(penalty.outer_lr, curvature))
