"""∇²Φ along a direction, and the ways to have it for less."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, final

from ofmu.core.ascent import Inner, ascend, derivatives_of, detached
from ofmu.core.derivatives import Derivatives, Exact, FiniteDifference
from ofmu.core.phi import Penalty, Phi
from ofmu.core.problem import Problem
from ofmu.core.vector import Vector, number
from ofmu.errors import InputError
from ofmu.ranges import Range, check


@dataclass(frozen=True)
class Secant:
    """The last inner step, from which the curvature of Φ follows almost free of charge (22).

    After θ ← θ + η w on the same batch and with the same β, (w_new − w)/η = ∇²Φ w + O(η): a forward difference (18)
    whose step is the inner step itself, h₂ = η‖w‖. After θ ← θ + η P w with P held, the same quotient is ∇²Φ P w (23):
    the gradient of the penalty ½ wᵀP w = ½‖∇Φ‖²_P, consistent, but another penalty than ½‖∇Φ‖²; it weighs each
    coordinate of ∇Φ by how far the inner step moves along it.

    Args:
        before: ∇Φ where the step began; its β is held to the end of the step.
        rate: η > 0.

    Raises:
        InputError: the rate is not a positive number.
    """

    before: Inner
    rate: Annotated[float, Range(gt=0)]

    def __post_init__(self) -> None:
        check(self)

    def product(self, here: Inner) -> Vector:
        """(w_new − w)/η, with ∇Φ where the step ended."""
        return (here.gradient - self.before.gradient).mul_(1 / self.rate)


@final
class Curvature:
    """∇²Φ at the current parameters, β held.

    Args:
        problem: parameters and losses; where it has a ``part``, products are of that alone.
        phi: Φ.
        derivatives: how ∇Φ is computed.
        penalty: says how products of ∇Φ are computed, if otherwise.
        retain: as in :func:`~ofmu.core.ascent.inner`.
        like: a result whose β is taken; None: that of ``phi``.
        lean: where the similarity is active, g_f is let go.

    Raises:
        InputError: the back-end has no products of ∇Φ.
    """

    def __init__(
        self,
        problem: Problem,
        phi: Phi,
        derivatives: Derivatives,
        penalty: Penalty,
        *,
        retain: Vector | None = None,
        like: Inner | None = None,
        lean: bool = False,
    ) -> None:
        self._derivatives, self._retain = derivatives, retain
        self._along = _backend(derivatives, penalty, problem)
        self._whole = problem.part is None
        self._problem = problem if problem.part is None else problem.part
        # exact ones keep a graph only for a product of their own; differences take steps for a quotient of quotients
        self._differentiated = self._along is derivatives or not isinstance(derivatives, Exact)
        if like is not None and like.active:
            phi = held(phi, like)
        self._here = ascend(
            problem, phi, derivatives, retain=retain, differentiable=self._differentiated and self._whole
        )
        self._phi = held(phi, self._here)
        if lean and self._here.active:
            self._here = replace(self._here, g_f=Vector())

    @property
    def here(self) -> Inner:
        """∇Φ, without a graph."""
        return detached(self._here)

    def product(self, direction: Vector, key: str) -> Vector:
        """∇²Φ · direction; where the similarity is inactive Φ is L_f, and one product of g_f will do.

        Args:
            direction: any length.
            key: names the product to the back-end.
        """
        here = self._here
        if not here.active:
            at = here.g_f if self._whole else None
            return self._along.product(self._gradient_of_forget, direction, at=at, key=f"ascent {key}")
        at = here.gradient if self._whole else None
        return self._along.product(self._nabla_phi, direction, at=at, key=key, share=self._share())

    def _share(self) -> float:
        """How much of ∇Φ is made of quotients, whose error is the noise of products of it.

        0 where something else than differences computes ∇Φ: its noise is then measured as a whole.
        """
        if not isinstance(self._derivatives, FiniteDifference):
            return 0.0
        norm_w = number(self._here.gradient.norm())
        return min(1.0, self._here.curvature * self._here.a / norm_w) if norm_w > 0 else 1.0

    def _gradient_of_forget(self) -> Vector:
        return self._derivatives.gradient(self._problem.forget)

    def _nabla_phi(self) -> Vector:
        found = ascend(
            self._problem,
            self._phi,
            self._derivatives,
            retain=self._retain,
            lean=True,
            differentiable=self._differentiated,
        )
        return found.gradient


def held(phi: Phi, here: Inner) -> Phi:
    """The one function Φ that was ascended: its absolute β, 0 where a relative one found the similarity inactive."""
    return replace(phi, beta=here.beta, scale="raw", trust=None)


def _backend(derivatives: Derivatives, penalty: Penalty, problem: Problem) -> Derivatives:
    """What products of ∇Φ are computed by, or an error that says why nothing does."""
    along = derivatives if penalty.derivatives is None else derivatives_of(penalty.derivatives, problem)
    if along.penalty == "refused":
        raise InputError(
            "derivatives 'gauss_newton' cannot give the penalty's curvature: they drop the sign that tells forgetting "
            "from remembering. Use 'finite_difference' or 'secant' for the penalty, or rho 0"
        )
    if along.penalty == "secant":
        raise InputError(
            "derivatives 'secant' take the penalty's curvature from an inner step on the same batch: "
            "pass outer() that step as secant, or use derivatives 'finite_difference'"
        )
    if along is not derivatives:
        along.refresh()
        if isinstance(along, FiniteDifference):
            along.differences(derivatives)
    return along
