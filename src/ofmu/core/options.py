"""What :func:`~ofmu.core.algorithm.solve` is told, and the record it gives of each round."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Literal, final

from ofmu.core.adaptive import Adaptive
from ofmu.core.derivatives import Derivatives
from ofmu.core.phi import Scale, Step
from ofmu.core.priority import Priority
from ofmu.core.schedule import Constant, Geometric, Polynomial, Schedule
from ofmu.core.similarity import Similarity
from ofmu.errors import InputError, unknown
from ofmu.ranges import Range, check

Base = Literal["sequential", "anchored"]
SCHEDULES = ("constant", "geometric", "polynomial", "adaptive")
"""Names of the rules for ρ."""


@final
@dataclass(frozen=True)
class SolveOptions:
    """Options of :func:`~ofmu.core.algorithm.solve`; the defaults are in relative scale, (50) and (51).

    Args:
        rounds: K, outer rounds at most.
        inner_steps: T, ascent steps a round.
        inner_tolerance: the ascent of a round ends early where ‖∇Φ‖ ≤ this; 0 for never.
        outer_steps: descent steps a round, each with gradients of its own.
        outer_lr: η_out, the plain descent step.
        lambda_eff: λ_eff = T η_in/η_out (30): the one balance knob. η_in follows from it.
        base: where the first outer step of a round starts: ``sequential`` at the last inner iterate, or
            ``anchored`` where the round began; its gradients are those at the last inner iterate either way.
        similarity: a name or an object.
        beta: β; relative: ‖βD‖ as a share of ‖g_f‖, refreshed each round and held inside it (50).
        rho: ρ_0; relative: ‖2ρy‖ as a share of ‖g_r‖ (51).
        schedule: how ρ goes on from ρ_0: one of ``SCHEDULES``, or an object, which brings its own ρ_0
            and of which each run takes a copy.
        rho_growth: γ of (6) and (52).
        rho_power: p of the polynomial schedule, ρ_0 (1 + k)ᵖ.
        max_rho: ceiling of the schedule, in the units of ``rho`` and not below it; None for none.
        matched: divide both step sizes by ρ_k/ρ_0, as (33) asks where ρ grows; raw scale.
        multipliers: an augmented Lagrangian (55) in the place of the bare penalty.
        max_multiplier: largest ‖ν‖ of it; None for no limit.
        stable: keep ρ below 1/(2η_out λ̂²) (31).
        keep: keep ρ below (32), where a round would undo its own forgetting; a priority sees to that by itself.
        max_change: δ, the longest single step as a share of ‖θ‖ (58); None for no limit.
        priority: forgetting first (53): a round is then one step along ∇F − μ∇Φ, without inner steps.
        derivatives: a name or an object; with ``secant`` the penalty's curvature comes from the last inner step (22).
        penalty_derivatives: another way for the penalty's curvature alone; None: as ``derivatives``.
        refresh_every: the similarity term is computed in every so many inner steps of a round and held between (C5).
        retain_curvature: whether D has its second half H_r q; False is C6.
        scale: ``raw`` (the paper) or ``relative``.
        step: ``full`` or ``projected`` (C8).
        guard: take out of the penalty what would undo forgetting (43).
        reference_scale: a typical gradient norm; a tenth of it becomes ε of (9).
        stationary: stop after a round that began with ‖∇Φ‖ ≤ this; 0 for never.

    Raises:
        InputError: a value out of range, or options that exclude each other.
    """

    rounds: Annotated[int, Range(ge=1)] = 10
    inner_steps: Annotated[int, Range(ge=1)] = 5
    inner_tolerance: Annotated[float, Range(ge=0)] = 0.0
    outer_steps: Annotated[int, Range(ge=1)] = 1
    outer_lr: Annotated[float, Range(gt=0)] = 1e-2
    lambda_eff: Annotated[float, Range(ge=0)] = 0.2
    base: Base = "sequential"
    similarity: str | Similarity = "squared_hinge"
    beta: Annotated[float, Range(ge=0)] = 0.5
    rho: Annotated[float, Range(ge=0)] = 0.2
    schedule: str | Schedule = "geometric"
    rho_growth: Annotated[float, Range(ge=1)] = 1.0
    rho_power: Annotated[float, Range(ge=0, le=8)] = 1.0
    max_rho: Annotated[float, Range(ge=0)] | None = None
    matched: bool = False
    multipliers: bool = False
    max_multiplier: Annotated[float, Range(gt=0)] | None = None
    stable: bool = True
    keep: bool = False
    max_change: Annotated[float, Range(gt=0)] | None = None
    priority: Priority | None = None
    derivatives: str | Derivatives = "finite_difference"
    penalty_derivatives: str | Derivatives | None = None
    refresh_every: Annotated[int, Range(ge=1)] = 1
    retain_curvature: bool = True
    scale: Scale = "relative"
    step: Step = "full"
    guard: bool = True
    reference_scale: Annotated[float, Range(ge=0)] | None = None
    stationary: Annotated[float, Range(ge=0)] = 0.0

    def __post_init__(self) -> None:
        check(self)
        if self.base == "literal":  # pyright: ignore[reportUnnecessaryComparison] - what users may ask for
            raise InputError(
                "base 'literal' starts the outer step where the round began, with the gradients of that place: its "
                "inner steps would have no effect. Use 'sequential' or 'anchored'"
            )
        if self.base not in ("sequential", "anchored"):
            raise unknown("base", self.base, ["sequential", "anchored"])
        if self.matched and self.scale == "relative":
            raise InputError(
                "matched step sizes belong to a rho in raw scale: in relative scale the penalty is a share of the "
                "retain gradient, and its step does not grow with rho"
            )
        if isinstance(self.schedule, str) and self.max_rho is not None and self.rho > self.max_rho:
            raise InputError(f"rho is {self.rho:g}, but must be <= {self.max_rho:g} (max_rho)")
        if self.schedule == "adaptive" and self.rho > 0 and self.rho_growth == 1:
            raise InputError("schedule 'adaptive' moves rho by the factor rho_growth, which is 1; give one above 1")
        if self.priority is not None and (self.outer_steps > 1 or self.base == "anchored"):
            raise InputError("with a priority a round is one step: outer_steps must be 1 and base 'sequential'")
        if self.secant and (
            self.outer_steps > 1
            or self.multipliers
            or self.priority is not None
            or self.inner_tolerance > 0
            or self.lambda_eff == 0
        ):
            raise InputError(
                "derivatives 'secant' know the curvature along the last inner step only: with outer_steps 1, "
                "lambda_eff above 0, without multipliers, priority and inner_tolerance. For these set "
                "penalty_derivatives to finite_difference"
            )
        if self.step == "projected" and (self.priority is not None or self.multipliers):
            raise InputError("step 'projected' has no penalty and no gradient of Φ: no priority, no multipliers")

    @property
    def secant(self) -> bool:
        """Whether the penalty's curvature comes from the inner trajectory."""
        chosen = self.derivatives if self.penalty_derivatives is None else self.penalty_derivatives
        return chosen == "secant" if isinstance(chosen, str) else chosen.penalty == "secant"

    @property
    def inner_lr(self) -> float:
        """η_in = λ_eff η_out/T."""
        return self.lambda_eff * self.outer_lr / self.inner_steps

    def rho_schedule(self) -> Schedule:
        """The rule for ρ, at its beginning.

        Raises:
            InputError: no rule has that name.
        """
        match self.schedule:
            case Schedule():
                return deepcopy(self.schedule)  # a rule may learn, and the next run begins anew
            case "constant":
                return Constant(self.rho)
            case "geometric":
                return Geometric(self.rho, self.rho_growth, self.max_rho)
            case "polynomial":
                return Polynomial(self.rho, self.rho_power, self.max_rho)
            case "adaptive":
                return Adaptive(self.rho, self.rho_growth, largest=self.max_rho)
            case _:
                raise unknown("schedule", self.schedule, SCHEDULES)


@dataclass(frozen=True)
class Round:
    """What happened in round k: numbers only.

    Args:
        k: 0, 1, …
        forget_loss: L_f at the start of the round.
        retain_loss: L_r at the start of the round.
        norm_forget: a = ‖∇L_f‖ at the start of the round.
        norm_retain: b = ‖∇L_r‖ at the start of the round.
        similarity: c, their cosine, at the start of the round.
        norm_phi: ‖∇Φ‖ at the start of the round.
        kappa: κ at the last outer step, None where ρ = 0.
        guarded: whether the guard acted there.
        rho: absolute ρ of that step.
        beta: absolute β of the first inner step.
        gradients: evaluations of one loss with its gradient so far, this round included. Exact derivatives do
            more work with each (six and eighteen units a step in place of two).
        inner_steps: ascent steps taken.
        share: the smallest share of a step that the trust region (58) left, 0 … 1.
        mu: μ of (53); None without a priority.
    """

    k: int
    forget_loss: float
    retain_loss: float
    norm_forget: float
    norm_retain: float
    similarity: float
    norm_phi: float
    kappa: float | None
    guarded: bool
    rho: float
    beta: float
    gradients: int
    inner_steps: int
    share: float
    mu: float | None
