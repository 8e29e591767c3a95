"""What the penalty step may not undo.

A step −2ρη y on ρ‖∇Φ‖², with w = ∇Φ and y = ∇²Φ w, changes Φ to first order by −2ρη κ‖w‖² (40), κ = wᵀy/‖w‖².
κ > 0 (Φ convex along its own ascent, as near a memorised state) means that the step lowers Φ: forgetting is
undone.
"""

from __future__ import annotations

from ofmu.core.vector import Vector, number


def curvature_along(w: Vector, y: Vector) -> float | None:
    """κ = wᵀ∇²Φ w/‖w‖² of (40), in units of loss per squared parameter; None where w = 0.

    Args:
        w: ∇Φ.
        y: ∇²Φ w.

    Returns:
        κ; positive where the penalty alone would undo forgetting.
    """
    square = number(w.dot(w))
    return None if square == 0 else number(w.dot(y)) / square


def guarded(w: Vector, y: Vector, kappa: float | None) -> Vector:
    """Y ← y − max(0, κ) w (43), in place: then wᵀy = min(κ, 0)‖w‖² ≤ 0.

    To first order the penalty then never lowers Φ.

    Args:
        w: ∇Φ.
        y: ∇²Φ w, overwritten.
        kappa: κ of :func:`curvature_along`.

    Returns:
        y, as it was where κ ≤ 0 or unknown.
    """
    return y if kappa is None or kappa <= 0 else y.add_(w, -kappa)
