"""Derivatives by differences of gradients (16)–(20): first-order kernels only, so any model will do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, final

import torch
from torch import Tensor

from ofmu.core.backend import Derivatives, scalar
from ofmu.core.displacement import Displacement
from ofmu.core.problem import Loss, parts
from ofmu.core.steps import NOISE, Steps
from ofmu.core.vector import Direction, Vector, number
from ofmu.errors import InputError, RunError

ATTEMPTS: Final = 4
"""Rough quotients tried at most until the first step of a product agrees with what it measures."""
AGREES: Final = 2.0
"""A first step may differ from the best one by this factor: the error is flat around its minimum."""


@final
class FiniteDifference(Derivatives):
    """H d ≈ ‖d‖ (g(θ + he) − g(θ))/h with e = d/‖d‖ (forward), or its central form; h by (20), see ``steps.py``.

    Parameters are moved in place and put back from a copy (:class:`~ofmu.core.displacement.Displacement`). Costs one
    evaluation a product (forward, ``at`` known) or two (central); the first product of each key up to four times that,
    and the very first one up to three more, for ε_g. Gradients go through ``.backward()``, as DDP and FSDP2 need.

    Args:
        parameters: name → leaf tensor in float32 or float64: in bfloat16 a small step moves nothing.
        buffers: name → tensor put back after every evaluation.
        central: the central quotient (17) in place of the forward one (16): twice the cost, a smaller error.
        noise: the least ε_g, relative noise of one gradient evaluation, that is believed in; ε_g is measured before
            the first product. None: what the parameters' dtype has at best (:data:`~ofmu.core.steps.NOISE`). Under
            bfloat16 autocast pass ``NOISE[torch.bfloat16]``: the quotient then carries ten per cent error or more,
            and no step makes it better.
        secant: the curvature of Φ is taken from the inner trajectory (22), without a product; D as ever.
        before_edit: called before parameters are touched (FSDP2: reshard).

    Raises:
        InputError: a parameter in half precision, or a noise outside (0, 1).
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor] | None = None,
        *,
        central: bool = False,
        noise: float | None = None,
        secant: bool = False,
        before_edit: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(parameters, buffers)
        self.overwritable = True
        self._displacement = Displacement(parameters, before_edit)
        if noise is not None and not 0 < noise < 1:
            raise InputError(f"noise is {noise:g}, but must be > 0 and < 1")
        coarsest = max((p.dtype for p in parameters.values()), key=lambda dtype: torch.finfo(dtype).eps)
        self._steps = Steps(noise or NOISE[coarsest], torch.finfo(coarsest).eps / 2, central=central)
        self._size: float | None = None
        if secant:
            self.penalty = "secant"

    def gradient(self, loss: Loss, *, differentiable: bool = False) -> Vector:
        """∇loss by ``.backward()``; ``differentiable`` changes nothing here; see :meth:`Derivatives.gradient`."""
        return self._gathered(loss, {})

    def _gathered(self, loss: Loss, onto: Mapping[str, Tensor]) -> Vector:
        """``onto`` + ∇loss, in the storage of ``onto`` where that has the name; from 0 elsewhere."""
        kept = {name: p.grad for name, p in self.parameters.items()}
        try:
            for name, p in self.parameters.items():
                p.grad = onto.get(name)
            with self._undisturbed():
                for part in parts(loss):
                    scalar(part()).backward()
            return Vector({name: _gradient_of(p) for name, p in self.parameters.items()})
        finally:
            for name, p in self.parameters.items():
                p.grad = kept[name]

    def curvature(
        self,
        loss: Loss,
        direction: Direction,
        *,
        at: Vector | None = None,
        key: str = "",
        differentiable: bool = False,
        spend: bool = False,
    ) -> Vector:
        """A difference quotient of ∇loss; see :meth:`Derivatives.curvature`.

        Where ``at`` may be spent, the second gradient gathers on −``at``: their difference needs no vector of its own.
        """
        h = self._steps.current(_name(key, differentiable))
        if not (spend and at is not None and h is not None and self._steps.measured) or self._steps.central:
            return super().curvature(loss, direction, at=at, key=key, differentiable=differentiable)
        size = _finite_size(direction)
        if size == 0:
            return Vector.zeros_like(self.parameters)
        extent, norm = self._extent, number(at.norm())
        with self._displacement.along(direction, h / size, measured=self._steps.is_short(h, extent)) as scale:
            quotient = self._gathered(loss, at.mul_(-1)).mul_(1 / scale)
        length = _length(quotient, size, norm)
        self._note(key, differentiable, h, length, self._steps.best(length, extent, within=differentiable))
        return quotient

    def product(
        self,
        gradient: Callable[[], Vector],
        direction: Direction,
        *,
        at: Vector | None = None,
        key: str = "",
        differentiable: bool = False,
        share: float = 0.0,
    ) -> Vector:
        """A difference quotient of ``gradient`` along ``direction``; see :meth:`Derivatives.product`.

        One whose result is differenced again (``differentiable``) takes the longer steps (61).

        Raises:
            RunError: the direction is not finite.
        """
        size = _finite_size(direction)
        if size == 0:
            return Vector.zeros_like(self.parameters)
        if at is None and not self._steps.central:
            at = gradient()
        if not self._steps.measured and share == 0:
            self._probe(gradient, direction, size, gradient() if at is None else at)
        rule = partial(self._steps.best, size=self._extent, nested=share, within=differentiable)
        h = self._steps.current(_name(key, differentiable))
        if h is None and key in self._steps.lengths:
            h = rule(self._steps.lengths[key])
        if h is None:
            quotient, length, h = self._first_quotient(gradient, direction, size, at, rule)
        else:
            quotient, length = self._quotient(gradient, direction, size, at, h)
        self._note(key, differentiable, h, length, rule(length))
        return quotient

    @property
    def _extent(self) -> float:
        """‖θ‖ where the present evaluation began: it only bounds steps, and may be a little out of date."""
        if self._size is None:
            self._size = self._displacement.size
        return self._size

    def _note(self, key: str, differentiable: bool, h: float, length: float, best: float) -> None:
        """Remember a product's step and ℓ, and the step that would have been best."""
        name = _name(key, differentiable)
        self._steps.use(name, h)
        self._steps.want(name, best)
        self._steps.lengths[key] = length

    def discrepancy(
        self, gradient: Callable[[], Vector], direction: Direction, *, at: Vector | None = None, key: str = ""
    ) -> float:
        """The self-check (21): ‖Δ(h) − Δ(h/2)‖/‖Δ(h/2)‖ of one product at the step now in use.

        Args:
            gradient: as in :meth:`product`.
            direction: not 0.
            at: ``gradient()`` here, if known.
            key: as in :meth:`product`; its step must be known, from a product or by :meth:`set_step`.

        Returns:
            About 2√ε_g or less if h is right; above 1e-2, distrust the quotient (or a kink lies within h).

        Raises:
            RunError: no step is known for this key yet.
        """
        h = self._steps.current(key)
        if h is None:
            raise RunError(f"no step is known for the product '{key}' yet: compute it once before checking it")
        size = number(direction.norm())
        if at is None and not self._steps.central:
            at = gradient()
        whole, _ = self._quotient(gradient, direction, size, at, h)
        half, _ = self._quotient(gradient, direction, size, at, h / 2)
        return number((whole - half).norm() / half.norm())

    def differences(self, field: Derivatives) -> None:
        """Say which back-end computes the gradients that are differenced: their noise is that of its own quotients.

        Args:
            field: another back-end; its noise is known where it has measured it, as differences do.
        """
        if isinstance(field, FiniteDifference):
            self._steps.inside = field._steps

    @property
    def steps(self) -> dict[str, float]:
        """The h in use, by product; for logs."""
        return dict(self._steps.state_dict()["used"])

    def set_step(self, key: str, h: float) -> None:
        """Fix the next step of a product by hand."""
        self._steps.use(key, h)

    def refresh(self) -> None:
        """Let the steps follow the lengths measured since the last call."""
        self._size = None
        self._steps.refresh()

    def state_dict(self) -> dict[str, Any]:
        """The remembered steps, by product."""
        return self._steps.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self._steps.load_state_dict(state)

    def _first_quotient(
        self,
        gradient: Callable[[], Vector],
        direction: Direction,
        size: float,
        at: Vector | None,
        rule: Callable[[float], float],
    ) -> tuple[Vector, float, float]:
        """A rough quotient, again at the step that it suggests, until the two agree; with its ℓ and h."""
        h = rule(self._steps.guess(self._extent))
        quotient, length = self._quotient(gradient, direction, size, at, h)
        for _ in range(ATTEMPTS - 1):
            best = rule(length)
            if best / AGREES <= h <= best * AGREES:
                break
            h = best
            quotient, length = self._quotient(gradient, direction, size, at, h)
        return quotient, length, h

    def _quotient(
        self,
        gradient: Callable[[], Vector],
        direction: Direction,
        size: float,
        at: Vector | None,
        h: float,
    ) -> tuple[Vector, float]:
        """(H d, ℓ), from evaluations at distance h along d."""
        measured = self._steps.is_short(h, self._extent)
        with self._displacement.along(direction, h / size, measured=measured) as scale:
            ahead = dict(gradient())
        if self._steps.central or at is None:
            with self._displacement.along(direction, -h / size, measured=measured) as back:
                behind = gradient()
            width = scale - back
        else:
            behind, width = at, scale
        # popped one by one, so that the evaluation is freed as its quotient is made
        quotient = Vector({name: (ahead.pop(name) - x).mul_(1 / width) for name, x in behind.items()})
        return quotient, _length(quotient, size, number(behind.norm()))

    def _probe(self, gradient: Callable[[], Vector], direction: Direction, size: float, at: Vector) -> None:
        """Measure ε_g and ℓ over steps so short that a smooth gradient would be straight.

        ‖g(θ) − 2g(θ + he) + g(θ + 2he)‖ = √6 ε_g‖g‖, for the noises of three evaluations add up as squares. Where
        g(θ + he) − g(θ) drowns in noise ℓ is taken too short: a step too long might not be told from a good one.
        """
        norm, h = number(at.norm()), self._steps.shortest(self._extent)
        if norm == 0:
            return
        with self._displacement.along(direction, h / size):
            ahead = dict(gradient())
        bent = {name: ahead.pop(name) - x for name, x in at.items()}
        change = number(Vector(bent).norm()) / norm
        bent = {name: x.mul_(-2).sub_(at[name]) for name, x in bent.items()}
        with self._displacement.along(direction, 2 * h / size):
            ahead = dict(gradient())
        noise = number(Vector({name: x.add_(ahead.pop(name)) for name, x in bent.items()}).norm()) / (
            norm * math.sqrt(6)
        )
        self._steps.measure(noise, h / change if change > 0 else math.inf)


def _name(key: str, differentiable: bool) -> str:
    """A product that is differenced again has a step of its own."""
    return f"{key}, differenced" if differentiable else key


def _length(quotient: Vector, size: float, norm: float) -> float:
    """ℓ = ‖g‖/‖He‖, from H d, ‖d‖ and ‖g‖."""
    change = number(quotient.norm()) / size
    return norm / change if change > 0 else math.inf


def _finite_size(direction: Direction) -> float:
    """‖d‖ of a direction to move along."""
    size = number(direction.norm())
    if not math.isfinite(size):
        raise RunError("a curvature product was asked for along a direction that is not finite: training diverged")
    return size


def _gradient_of(p: Tensor) -> Tensor:
    """``p.grad`` as a tensor of our own: the next backward pass may write into a view of a shared bucket."""
    if p.grad is None:
        return torch.zeros_like(p.detach())
    return p.grad.clone() if p.grad._is_view() else p.grad
