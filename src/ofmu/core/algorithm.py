"""Algorithm 1 of OFMU (arXiv 2509.22483), beside the equations of its pages; any torch module, two closures.

    θ  parameters        g_f = ∇L_f, a = ‖g_f‖    w = ∇Φ          Φ = L_f − β s(g_f, g_r)             (1)
    H  Hessians          g_r = ∇L_r, b = ‖g_r‖    y = ∇²Φ w       F = L_r + ρ ‖∇Φ‖²                   (3)
    s  similarity        c = cos∠(g_f, g_r)       p = ∂s/∂g_f     ∇Φ = g_f − β (H_f p + H_r q)        (7)
    β, ρ  weights        κ = wᵀy/‖w‖²             q = ∂s/∂g_r     ∇F = g_r + 2ρ y                    (10)

The inner step ascends along ∇Φ, the outer step descends along ∇F. β and ρ are held while a Hessian is formed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import final

from ofmu.core.ascent import Inner, derivatives_of, inner
from ofmu.core.caps import undo_cap, within_reach
from ofmu.core.curvature import Secant
from ofmu.core.derivatives import Derivatives
from ofmu.core.descent import Outer, outer
from ofmu.core.metered import Metered
from ofmu.core.multipliers import Multipliers
from ofmu.core.options import Round, SolveOptions
from ofmu.core.phi import Penalty, Phi, Scale
from ofmu.core.priority import prioritised
from ofmu.core.problem import Problem
from ofmu.core.schedule import Seen
from ofmu.core.similarity import Similarity
from ofmu.core.vector import Vector, number

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
    """Algorithm 1 with plain steps; moves ``problem.parameters`` in place, a round at each ``next``.

    Args:
        problem: parameters and losses; the losses are deterministic, so this is the full-batch algorithm.
        options: everything else.

    Yields:
        A record a round, after its steps were taken.

    Raises:
        RunError: a gradient is not finite.
    """
    run = _Run(problem, options)
    for k in range(options.rounds):
        theta_k = run.begin(k)
        up = run.ascend()  # θ ← θ + η_in ∇Φ, T times                                     (4)
        run.renew_multipliers(up)  # ν ← ν + 2ρ ∇Φ                                        (57)
        down = run.descend(up, theta_k)  # θ ← θ − η_out (∇L_r + 2ρ_k ∇²Φ ∇Φ)             (5)
        for _ in range(1, options.outer_steps):
            down = run.descend(up)
        yield run.learn(up, down)
        if 0 < options.stationary >= number(up.gradient.norm()):
            return


@final
class _Path:
    """θ, and how far it may go in one step."""

    def __init__(self, theta: Vector, largest: float | None) -> None:
        self.theta = theta
        self.largest = largest
        self.share = 1.0

    def move(self, direction: Vector, rate: float) -> float:
        """θ ← θ + rate · direction, shortened by (58); the share of it that was left."""
        share = within_reach(direction, self.theta, abs(rate), self.largest)
        self.share = min(self.share, share)
        self.theta.add_(direction, share * rate)
        return share

    def put(self, place: Vector) -> None:
        """θ ← place, bit for bit."""
        for name, x in self.theta.items():
            x.data.copy_(place[name])


@final
class _Run:
    """What lasts from round to round."""

    def __init__(self, problem: Problem, options: SolveOptions) -> None:
        self.options = options
        self.forget, self.retain = Metered(problem.forget), Metered(problem.retain)
        self.problem = replace(problem, forget=self.forget.parts, retain=self.retain.parts)
        self.derivatives = derivatives_of(options.derivatives, self.problem)
        self.whole = Phi(
            beta=options.beta,
            similarity=options.similarity,
            scale=options.scale,
            step=options.step,
            reference_scale=options.reference_scale,
            trust=1.0 if options.scale == "relative" else None,
            retain_curvature=options.retain_curvature,
        )
        self.phi = self.whole
        self.k, self.ascents = 0, 0
        self.theta = _Path(Vector(problem.parameters), options.max_change)
        self.schedule = options.rho_schedule()
        self.rho = self.first_rho = self.schedule.rho(0)
        self.pace, self.outer_lr = 1.0, options.outer_lr
        self.multipliers = Multipliers(options.max_multiplier) if options.multipliers else None
        self.down: Outer | None = None
        self.forget_change = 0.0
        self.fresh: Inner | None = None
        self.secant: Secant | None = None
        self.mu: float | None = None

    def begin(self, k: int) -> Vector | None:
        """Start round k; a copy of θ where it will be needed again."""
        self.k, self.ascents = k, 0
        self.fresh = self.secant = None
        self.rho = self.schedule.rho(k)
        self.phi = self.whole
        self.pace = self.first_rho / self.rho if self.options.matched and self.rho > 0 else 1.0  # (33)
        self.outer_lr = self.pace * self.options.outer_lr
        self.theta.share = 1.0
        self.forget.start_round()
        self.retain.start_round()
        return self.theta.theta.clone() if self.options.base == "anchored" else None

    def ascend(self) -> Inner:
        """The inner steps; what was found at the first of them."""
        options = self.options
        start = up = self._inner()
        if options.priority is not None:
            return start
        while not (options.inner_tolerance > 0 and number(up.gradient.norm()) <= options.inner_tolerance):
            self._move(up)
            if self.ascents == options.inner_steps:
                break
            up = self._inner()
        return start

    def renew_multipliers(self, up: Inner) -> None:
        """(57), with ∇Φ where the last outer step ended."""
        if self.multipliers is not None and self.down is not None:
            self.multipliers.update(up.gradient, self.down.rho)

    def descend(self, up: Inner, base: Vector | None = None) -> Outer:
        """One outer step, from ``base`` where there is one; its gradient is that of the current parameters."""
        options = self.options
        penalty = Penalty(
            rho=self.rho,
            scale=options.scale,
            guard=options.guard,
            outer_lr=self.outer_lr if options.stable else None,
            cap=self._undo_cap if options.keep and options.priority is None else None,
            multiplier=None if self.multipliers is None else self.multipliers.value,
            derivatives=options.penalty_derivatives,
        )
        down = outer(self.problem, self.phi, self.derivatives, penalty, secant=self.secant)
        d = down.gradient
        if options.priority is not None:
            d, self.mu = prioritised(d, up.gradient, options.priority.rise(self._phi(up)))
        if base is not None:
            self.theta.put(base)
        moved = self.outer_lr * self.theta.move(d, -self.outer_lr)
        self.forget_change = 0.0 if down.inner is None else -moved * number(d.dot(down.inner.g_f))
        self.down = down
        return down

    def learn(self, up: Inner, down: Outer) -> Round:
        """Tell the schedule of the round, and make its record."""
        norm_phi = number(up.gradient.norm())
        self.schedule.observe(Seen(norm_phi, down.kappa, self.forget_change))
        return Round(
            k=self.k,
            forget_loss=self.forget.value,
            retain_loss=self.retain.value,
            norm_forget=up.a,
            norm_retain=up.b,
            similarity=up.c,
            norm_phi=norm_phi,
            kappa=down.kappa,
            guarded=down.guarded,
            rho=down.rho,
            beta=up.beta,
            gradients=self.forget.evaluations + self.retain.evaluations,
            inner_steps=self.ascents,
            share=self.theta.share,
            mu=self.mu,
        )

    def _move(self, up: Inner) -> None:
        """One inner step, remembered where the penalty's curvature comes from it (22)."""
        rate = self.pace * self.options.inner_lr
        share = self.theta.move(up.gradient, rate)
        self.secant = Secant(up, share * rate) if self.options.secant and share * rate > 0 else None
        self.ascents += 1

    def _inner(self) -> Inner:
        """∇Φ, its similarity term held from an earlier step where it need not be fresh (C5)."""
        options = self.options
        last = options.secant and self.ascents == options.inner_steps - 1  # (22) compares two fresh ones
        due = last or self.ascents % options.refresh_every == 0
        up = inner(self.problem, self.phi, self.derivatives, held=None if due else self.fresh)
        if due:
            self.fresh = up
        if up.active and self.options.step == "full":
            self.phi = replace(self.phi, beta=up.beta, scale="raw")  # (50): held from here to the end of the round
        return up

    def _undo_cap(self, kappa: float) -> float:
        """(32) with the ascents that were made, over all outer steps of the round: (1 − x)ⁿ ≥ 1 − nx."""
        options = self.options
        return undo_cap(self.pace * options.inner_lr, self.ascents, self.outer_lr * options.outer_steps, kappa)

    def _phi(self, up: Inner) -> float:
        """Φ = L_f − β s where the round began."""
        if up.beta == 0:
            return self.forget.value
        return self.forget.value - up.beta * number(self.phi.measure.value(up.g_f, up.g_r, epsilon=self.phi.epsilon))
