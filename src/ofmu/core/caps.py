"""How far one step may go: the largest ρ that does not undo a round's forgetting, and the longest way."""

from __future__ import annotations

import math

from ofmu.core.vector import Vector, number


def undo_cap(inner_lr: float, inner_steps: int, outer_lr: float, curvature: float) -> float:
    """ρ* of (32): beyond it one round lowers Φ along a direction of curvature κ, in spite of its inner steps.

        ρ* = [1 − (1 + η_in κ)^{−T}]/(2 η_out κ²) ≈ λ_eff/(2κ)

    Args:
        inner_lr: η_in ≥ 0.
        inner_steps: T ≥ 0; without inner steps there is nothing to undo, and ρ* = 0 where κ > 0.
        outer_lr: η_out > 0; of several outer steps the sum.
        curvature: κ of (40), in units of loss per squared parameter.

    Returns:
        ρ* ≥ 0; infinite where κ ≤ 0, for there the penalty does not undo anything.

    >>> round(undo_cap(0.015, 4, 0.1, 0.8), 4)
    0.364
    """
    if curvature <= 0:
        return math.inf
    return -math.expm1(-inner_steps * math.log1p(inner_lr * curvature)) / (2 * outer_lr * curvature**2)


def within_reach(step: Vector, theta: Vector, rate: float, largest: float | None) -> float:
    """The factor on a step η·d that keeps it within a trust region on the relative change (58).

        min(1, δ‖θ‖/(η‖d‖))

    Args:
        step: d.
        theta: θ before the step.
        rate: η ≥ 0.
        largest: δ > 0, as a share of ‖θ‖; None for no limit. Where θ = 0 there is no such scale and no limit.

    Returns:
        A number in (0, 1].
    """
    if largest is None:
        return 1.0
    size, length = number(theta.norm()), rate * number(step.norm())
    return 1.0 if size == 0 or length <= largest * size else largest * size / length
