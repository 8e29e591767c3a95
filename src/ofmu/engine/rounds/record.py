"""What a round saw, as a line of the history."""

from __future__ import annotations

from ofmu.core.ascent import Inner
from ofmu.core.descent import Outer
from ofmu.core.vector import number
from ofmu.engine.method import StepRecord
from ofmu.engine.rounds.losses import Pair
from ofmu.engine.rounds.priority import Weight
from ofmu.engine.weighted_sum import TINY


def record(
    pair: Pair,
    seen: Inner,
    descent: Outer,
    weight: Weight,
    *,
    norm_phi: float,
    measured: float | None,
    debiased: float | None,
    kept: float | None,
    displacement: float | None,
) -> StepRecord:
    """The facts of a round.

    Args:
        pair: the losses of its last inner step, where it took ∇Φ: at θ, or at θ + δ.
        seen: that step's ∇Φ; it has its g_f where that was compared with no retain gradient.
        descent: the last outer step's ∇F.
        weight: that inner step's balance.
        norm_phi: ‖∇Φ‖.
        measured: λ_eff as the steps made it.
        debiased: the cosine of the gradients without the bias of batch noise; recorded within ±1.
        kept: share of the round's way that the trust region left; None without one.
        displacement: ‖δ‖ of that step; None at θ.
    """
    b, c = seen.b, seen.c
    if seen.g_f:  # without similarity term: the outer step's gradient, one inner step later
        b = number(descent.gradient.norm())
        c = number(seen.g_f.dot(descent.gradient)) / (seen.a * b) if seen.a * b > 0 else 0.0
    return StepRecord(
        forget_loss=pair.forget.nll,
        retain_loss=pair.retain.nll,
        similarity=c if seen.a * b > TINY else None,
        norm_forget=seen.a,
        norm_retain=b,
        more={
            "forget_objective": -pair.forget.value,
            "norm_phi": norm_phi,
            "similarity_share": seen.curvature,
            "beta": seen.beta,
            "rho": descent.rho,
            "kappa": descent.kappa,
            "guarded": descent.guarded,
            "similarity_debiased": None if debiased is None else max(-1.0, min(debiased, 1.0)),
            "lambda_eff": weight.lambda_eff,
            "lambda_measured": measured,
            "forget_multiplier": weight.forget,
            "retain_multiplier": weight.retain,
            "trust": kept,
            "displacement": displacement,
        },
    )
