"""What Φ and its penalty are, apart from the batch: the options of the inner and the outer gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from ofmu.core.derivatives import Derivatives
from ofmu.core.similarity import Similarity, make
from ofmu.core.vector import Vector
from ofmu.ranges import Range, check

EPSILON_SHARE: Final = 0.1
"""ε of (9) as a share of the reference scale."""

Scale = Literal["raw", "relative"]
Step = Literal["full", "projected"]


@dataclass(frozen=True, kw_only=True)
class Phi:
    """Φ = L_f − β s(∇L_f, ∇L_r), and how a step ascends it.

    Args:
        beta: β ≥ 0. Raw: in units of loss. Relative: ‖βD‖ as a share of a = ‖∇L_f‖, (50), at most ``trust``.
        similarity: s; a name or an object.
        scale: ``raw`` (the paper) or ``relative``.
        step: ``full``, or ``projected``: d = g_f − max(0, c) a v, without any curvature (C8); β is not used.
        reference_scale: a typical gradient norm of the run; a tenth of it becomes ε of (9). None: ε = 0.
        trust: largest ‖βD‖/a allowed. None: 1 in relative scale, no limit in raw scale.
        retain_curvature: whether D has its second half H_r q; without it (C6) a product is saved, and D is as if ∇L_r
            did not change with θ.

    Raises:
        InputError: a number out of range, or no similarity has that name.
    """

    beta: Annotated[float, Range(ge=0)]
    similarity: str | Similarity = "cosine"
    scale: Scale = "raw"
    step: Step = "full"
    reference_scale: Annotated[float, Range(ge=0)] | None = None
    trust: Annotated[float, Range(ge=0)] | None = None
    retain_curvature: bool = True

    def __post_init__(self) -> None:
        check(self)
        _ = self.measure  # a name that does not exist is found here

    @property
    def measure(self) -> Similarity:
        """The similarity as an object."""
        return make(self.similarity) if isinstance(self.similarity, str) else self.similarity

    @property
    def epsilon(self) -> float:
        """ε of (9), in units of a gradient norm."""
        return EPSILON_SHARE * (self.reference_scale or 0.0)


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """The outer step's ρ‖∇Φ‖².

    Args:
        rho: ρ ≥ 0. Raw: in units of inverse curvature. Relative: ‖2ρy‖ as a share of b = ‖∇L_r‖, (51).
        scale: ``raw`` (the paper) or ``relative``.
        guard: take out of y what would undo forgetting (43).
        outer_lr: η_out; caps ρ at the stable 1/(2η_out λ̂²) of (31). None: no such cap (the paper).
        cap: the largest absolute ρ allowed at a curvature κ of (40), such as (32). None: no such cap.
        multiplier: ν of (55); the outer step then goes along 2ρy + ∇²Φ ν (56), for one product more. None: ν = 0.
        derivatives: how y = ∇²Φ w is computed from ∇Φ, a name or an object; None: as D is. Exact D with
            ``finite_difference`` here are C3 of the cost table.

    Raises:
        InputError: a number out of range.
    """

    rho: Annotated[float, Range(ge=0)]
    scale: Scale = "raw"
    guard: bool = False
    outer_lr: Annotated[float, Range(ge=0)] | None = None
    cap: Callable[[float], float] | None = None
    multiplier: Vector | None = None
    derivatives: str | Derivatives | None = None

    def __post_init__(self) -> None:
        check(self)
