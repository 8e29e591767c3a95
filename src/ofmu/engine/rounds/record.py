"""What a round saw, as a line of the history."""

from __future__ import annotations

from ofmu.core.ascent import Inner
from ofmu.core.descent import Outer
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
    measured: float | None,
    debiased: float | None,
    kept: float | None,
    displacement: float | None,
) -> StepRecord:
    """The facts of a round.

    Args:
        pair: the losses of its last inner step, where it took ∇Φ: at θ, or at θ + δ.
        seen: that step's ∇Φ.
        descent: the last outer step's ∇F.
        weight: that inner step's balance.
        measured: λ_eff as the steps made it.
        debiased: the cosine of the gradients without the bias of batch noise; recorded within ±1.
        kept: share of the round's way that the trust region left; None without one.
        displacement: ‖δ‖ of that step; None at θ.
    """
    g_r = seen.g_r or descent.gradient  # without similarity term: the outer step's, one inner step later
    b = g_r.norm().item()
    cosine = seen.g_f.dot(g_r).item() / (seen.a * b) if seen.a * b > TINY else None
    return StepRecord(
        forget_loss=pair.forget.nll,
        retain_loss=pair.retain.nll,
        similarity=cosine,
        norm_forget=seen.a,
        norm_retain=b,
        more={
            "forget_objective": -pair.forget.value,
            "norm_phi": seen.gradient.norm().item(),
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
