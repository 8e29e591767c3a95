"""Algorithm 1 of OFMU (arXiv 2509.22483), beside the equations of its pages; any torch module, two closures.

    θ  parameters        g_f = ∇L_f, a = ‖g_f‖    w = ∇Φ          Φ = L_f − β s(g_f, g_r)             (1)
    H  Hessians          g_r = ∇L_r, b = ‖g_r‖    y = ∇²Φ w       F = L_r + ρ ‖∇Φ‖²                   (3)
    s  similarity        c = cos∠(g_f, g_r)       p = ∂s/∂g_f     ∇Φ = g_f − β (H_f p + H_r q)        (7)
    β, ρ  weights        κ = wᵀy/‖w‖²             q = ∂s/∂g_r     ∇F = g_r + 2ρ y                    (10)

The inner step ascends along ∇Φ, the outer step descends along ∇F. β and ρ are held while a Hessian is formed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from torch import Tensor

from ofmu.core.ascent import Inner, derivatives_of, inner
from ofmu.core.derivatives import Derivatives
from ofmu.core.descent import Outer, outer
from ofmu.core.phi import Penalty, Phi, Scale, Step
from ofmu.core.problem import Loss, Problem, parts
from ofmu.core.schedule import Geometric
from ofmu.core.similarity import Similarity
from ofmu.core.vector import Vector, number
from ofmu.ranges import Range, check

__all__ = [
    "Inner",
    "Outer",
    "Round",
    "SolveOptions",
    "inner",
    "inner_gradient",
    "outer",
    "outer_gradient",
    "solve",
]


@dataclass(frozen=True)
class SolveOptions:
    """Options of :func:`solve`; the defaults are in relative scale, (50) and (51).

    Args:
        rounds: K, outer rounds at most.
        inner_steps: T, ascent steps a round.
        outer_lr: η_out, the plain descent step.
        lambda_eff: λ_eff = T η_in/η_out (30): the one balance knob. η_in follows from it.
        similarity: a name or an object.
        beta: β; relative: ‖βD‖ as a share of ‖g_f‖, refreshed each round and held inside it (50).
        rho: ρ_0; relative: ‖2ρy‖ as a share of ‖g_r‖ (51).
        rho_growth: γ of (6).
        max_rho: ceiling of the schedule, in the units of ``rho``; None for none.
        stable: keep ρ below 1/(2η_out λ̂²) (31).
        derivatives: a name or an object.
        scale: ``raw`` (the paper) or ``relative``.
        step: ``full`` or ``projected`` (C8).
        guard: take out of the penalty what would undo forgetting (43).
        reference_scale: a typical gradient norm; a tenth of it becomes ε of (9).
        stationary: stop after a round that began with ‖∇Φ‖ ≤ this; 0 for never.
    """

    rounds: Annotated[int, Range(ge=1)] = 10
    inner_steps: Annotated[int, Range(ge=1)] = 5
    outer_lr: Annotated[float, Range(gt=0)] = 1e-2
    lambda_eff: Annotated[float, Range(ge=0)] = 0.2
    similarity: str | Similarity = "squared_hinge"
    beta: Annotated[float, Range(ge=0)] = 0.5
    rho: Annotated[float, Range(ge=0)] = 0.2
    rho_growth: Annotated[float, Range(ge=1)] = 1.0
    max_rho: Annotated[float, Range(ge=0)] | None = None
    stable: bool = True
    derivatives: str | Derivatives = "finite_difference"
    scale: Scale = "relative"
    step: Step = "full"
    guard: bool = True
    reference_scale: Annotated[float, Range(ge=0)] | None = None
    stationary: Annotated[float, Range(ge=0)] = 0.0

    def __post_init__(self) -> None:
        check(self)

    @property
    def inner_lr(self) -> float:
        """η_in = λ_eff η_out/T."""
        return self.lambda_eff * self.outer_lr / self.inner_steps


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
        kappa: κ at the outer step, None where ρ = 0.
        guarded: whether the guard acted.
        rho: absolute ρ of the outer step.
        beta: absolute β of the first inner step.
        gradients: evaluations of one loss with its gradient so far, this round included. Exact derivatives do
            more work with each (six and eighteen units a step in place of two).
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


def inner_gradient(
    problem: Problem,
    *,
    similarity: str | Similarity = "cosine",
    beta: float,
    derivatives: str | Derivatives = "exact",
    scale: Scale = "raw",
) -> Vector:
    """∇Φ (7) at the current parameters: add a multiple of it to forget. Arguments as of :class:`Phi`."""
    return inner(problem, Phi(similarity=similarity, beta=beta, scale=scale), derivatives).gradient


def outer_gradient(
    problem: Problem,
    *,
    similarity: str | Similarity = "cosine",
    beta: float,
    rho: float,
    derivatives: str | Derivatives = "exact",
    scale: Scale = "raw",
    guard: bool = False,
) -> Vector:
    """∇F (10) at the current parameters: subtract a multiple of it. Arguments as of :class:`Phi` and :class:`Penalty`.

    ``scale`` is that of β and ρ both.
    """
    phi = Phi(similarity=similarity, beta=beta, scale=scale)
    return outer(problem, phi, derivatives, Penalty(rho=rho, scale=scale, guard=guard)).gradient


def solve(problem: Problem, options: SolveOptions) -> Iterator[Round]:
    """Algorithm 1, variant A, with plain steps; moves ``problem.parameters`` in place, a round at each ``next``.

    The outer step starts where the inner steps ended (the paper leaves that open, O1).

    Args:
        problem: parameters and losses; the losses are deterministic, so this is the full-batch algorithm.
        options: everything else.

    Yields:
        A record a round, after its steps were taken.

    Raises:
        RunError: a gradient is not finite.
    """
    forget, retain = _Metered(problem.forget), _Metered(problem.retain)
    problem = replace(problem, forget=forget.parts, retain=retain.parts)
    derivatives = derivatives_of(options.derivatives, problem)
    whole = Phi(
        beta=options.beta,
        similarity=options.similarity,
        scale=options.scale,
        step=options.step,
        reference_scale=options.reference_scale,
        trust=1.0 if options.scale == "relative" else None,
    )
    theta = Vector(problem.parameters)
    rho = Geometric(options.rho, options.rho_growth, options.max_rho).rho

    for k in range(options.rounds):
        forget.start_round()
        retain.start_round()
        phi = whole
        start: Inner | None = None

        for _ in range(options.inner_steps):
            up = inner(problem, phi, derivatives)
            if up.active and options.step == "full":
                phi = replace(phi, beta=up.beta, scale="raw")  # (50): held from here to the end of the round
            start = start or up
            theta.add_(up.gradient, options.inner_lr)  # θ ← θ + η_in ∇Φ                     (4)

        penalty = Penalty(
            rho=rho(k),
            scale=options.scale,
            guard=options.guard,
            outer_lr=options.outer_lr if options.stable else None,
        )
        down = outer(problem, phi, derivatives, penalty)
        theta.add_(down.gradient, -options.outer_lr)  # θ ← θ − η_out (∇L_r + 2ρ_k ∇²Φ ∇Φ)   (5)

        if start is not None:
            norm_phi = number(start.gradient.norm())
            yield Round(
                k=k,
                forget_loss=forget.value,
                retain_loss=retain.value,
                norm_forget=start.a,
                norm_retain=start.b,
                similarity=start.c,
                norm_phi=norm_phi,
                kappa=down.kappa,
                guarded=down.guarded,
                rho=down.rho,
                beta=start.beta,
                gradients=forget.evaluations + retain.evaluations,
            )
            if norm_phi <= options.stationary:
                return


class _Metered:
    """A loss that counts its evaluations and keeps the value of each round's first one."""

    def __init__(self, loss: Loss) -> None:
        self.evaluations = 0
        self.value = 0.0
        self._first = 0
        pieces = parts(loss)
        self.parts = [self._metered(piece, index == 0) for index, piece in enumerate(pieces)]

    def start_round(self) -> None:
        self._first = self.evaluations + 1
        self.value = 0.0

    def _metered(self, piece: Callable[[], Tensor], begins: bool) -> Callable[[], Tensor]:
        def metered() -> Tensor:
            self.evaluations += begins
            value = piece()
            if self.evaluations == self._first:
                self.value += number(value)
            return value

        return metered
