"""How many gradients a round takes by the form that was chosen; exact products count as what they cost.

A gradient is a forward and a backward pass; a backward pass costs two forward ones, at every order. An exact Hessian
product is then 2 gradients, a forward difference 1, a central one 2; a Gauss–Newton product is 1, and two forward
passes that are counted apart.
"""

from __future__ import annotations

from ofmu.engine.rounds.settings import Settings, Way

PRODUCT: dict[Way, float] = {"exact": 2.0, "finite_difference": 1.0, "central": 2.0, "secant": 1.0, "gauss_newton": 1.0}
"""Gradients of one product of a field that costs one, its value at θ being known."""


def gradients_a_round(s: Settings) -> float:
    """For planning: of a round in which a similarity that may rest does. The meter counts what a round really takes."""
    active = s.decorrelates and not s.may_rest
    return _inner_steps(s, active) + s.outer_steps * _outer(s, active)


def products_of_phi(s: Settings) -> int:
    """Hessian products of an active similarity term: H_f p, and H_r q unless that is left out."""
    return 2 if s.retain_curvature and s.retain_direction != "held" else 1


def nabla_phi(s: Settings, active: bool, *, first: bool = True) -> float:
    """∇Φ: its gradients and, where active, the products in D.

    Args:
        s: of the run.
        active: whether the similarity term is.
        first: False inside a product of ∇Φ itself, where all of it is on the part that curvature is taken from.
    """
    gradients = 1.0 if s.retain_direction == "held" else 2.0
    if not active:
        return gradients if first else gradients * s.curvature_share
    product = PRODUCT[s.derivatives]
    if first and s.curvature_share < 1:
        product = _on_part(s, s.derivatives)
    return (gradients + products_of_phi(s) * product) * (1.0 if first else s.curvature_share)


def _on_part(s: Settings, way: Way) -> float:
    """A product of one gradient on part of the batch, whose value at θ is not known."""
    known = PRODUCT[way] + (1.0 if way in ("exact", "finite_difference", "secant") else 0.0)
    return known * s.curvature_share


def exact_products(s: Settings, active: bool, counted: float) -> float:
    """What exact products in ∇Φ cost beyond the gradients that the meter counted while ∇Φ was evaluated."""
    if s.derivatives != "exact" or not active:
        return 0.0
    return counted * products_of_phi(s) * PRODUCT["exact"] / (nabla_phi(s, active=False))


def exact_curvature(s: Settings, active: bool, counted: float) -> float:
    """What the exact products of ∇Φ in an outer step cost, of which the meter sees nothing; `counted` as above."""
    if s.along != "exact":
        return 0.0
    products = s.penalty_batches + (1.0 if s.rho_schedule == "augmented_lagrangian" else 0.0)
    return counted * products / s.penalty_batches * _curvature(s, active) / nabla_phi(s, active=False)


def _inner_steps(s: Settings, active: bool) -> float:
    place = 1.0 if s.sam_radius > 0 else 0.0
    if s.step == "projected":
        fresh = 2.0
    elif not s.decorrelates or (s.looks_before and not active):
        fresh = 1.0
    else:
        fresh = nabla_phi(s, active)
    refreshed = sum(is_due(s, t) for t in range(s.inner_steps))
    held = fresh if not s.decorrelates else 1.0
    return s.inner_steps * place + refreshed * fresh + (s.inner_steps - refreshed) * held


def is_due(s: Settings, t: int) -> bool:
    """Whether the similarity term is computed in inner step t = 0, 1 …, and not held (C5)."""
    last = s.secant and t == s.inner_steps - 1  # (22) compares two fresh ones
    return last or t % s.refresh_every == 0


def _outer(s: Settings, active: bool) -> float:
    if not s.penalises:
        return 1.0
    retain = 1.0 if s.retain_direction == "held" and s.decorrelates else 0.0
    here = nabla_phi(s, active) if s.decorrelates else 2.0
    if s.secant:
        return retain + here
    products = 2.0 if s.rho_schedule == "augmented_lagrangian" else 1.0
    return retain + s.penalty_batches * here + (s.penalty_batches + products - 1) * _curvature(s, active)


def _curvature(s: Settings, active: bool) -> float:
    """One product of ∇Φ."""
    if not active:
        return _on_part(s, s.along) if s.curvature_share < 1 else PRODUCT[s.along]
    evaluations = PRODUCT[s.along]
    if s.curvature_share < 1 and s.along in ("exact", "finite_difference"):
        evaluations += 1.0
    return evaluations * nabla_phi(s, active, first=False)
