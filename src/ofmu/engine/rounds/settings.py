"""What a run of OFMU goes by: every option given, none left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ofmu.core.similarity import find
from ofmu.engine.objective import Objective

Way = Literal["exact", "finite_difference", "central", "secant", "gauss_newton"]
"""To differentiate; ``ofmu.core.derivatives`` says what each is."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of :class:`ofmu.methods.ofmu.OFMU`, where they are explained, with values in place of presets.

    What is neutral is left out of the presets and stands here.
    """

    objective: Objective
    lambda_eff: float
    balance: Literal["adaptive", "fixed"]
    retain_band: float
    similarity: str
    margin: float
    retain_direction: Literal["fresh", "last", "held"]
    beta: float
    rho: float
    rho_growth: float
    rho_max: float
    rho_cap: bool
    scale: Literal["raw", "relative"]
    guard: bool
    step: Literal["full", "projected"]
    derivatives: Way
    inner_steps: int
    outer_steps: int
    optimiser: str
    optimiser_states: Literal["one", "two"]
    priority: str | float = "none"
    band_opening: float = 1.0
    temperature: float = 0.1
    smoothing: float = 1e-2
    blocks: Literal["whole", "layer", "tensor"] = "whole"
    block_weights: Literal["size", "sum"] = "size"
    retain_curvature: bool = True
    refresh_every: int = 1
    curvature_share: float = 1.0
    rho_schedule: Literal["constant", "geometric", "polynomial", "adaptive", "augmented_lagrangian"] = "geometric"
    rho_power: float = 1.0
    rho_matched: bool = False
    undo_cap: bool = False
    penalty_derivatives: Literal["same", "finite_difference", "central", "secant"] = "same"
    penalty_batches: int = 1
    base: Literal["sequential", "anchored", "literal"] = "sequential"
    sam_radius: float = 0.0
    sam_of: Literal["whole", "matrix"] = "whole"
    adversary_steps: int = 0
    adversary_rate: float = 0.4
    trust_region: float = 0.0
    trust_of: Literal["whole", "matrix"] = "whole"
    debias: Literal["moving", "halves", "off"] = "moving"

    @property
    def decorrelates(self) -> bool:
        """Whether Φ has a similarity term."""
        return self.step == "full" and self.similarity != "none" and self.beta > 0

    @property
    def penalises(self) -> bool:
        """Whether F has a penalty."""
        return self.step == "full" and self.rho > 0

    @cached_property
    def may_rest(self) -> bool:
        """Whether the similarity is inactive, and its curvature saved, where the gradients are not in conflict.

        Raises:
            InputError: there is no similarity of that name.
        """
        return self.similarity != "none" and find(self.similarity).may_rest

    @property
    def compares(self) -> bool:
        """Whether an inner step has a retain gradient to hold its own against."""
        return self.decorrelates or self.step == "projected"

    @property
    def holds_retain(self) -> bool:
        """Whether the retain gradient of the last outer step is kept."""
        return self.retain_direction != "fresh" or self.priority != "none"

    @property
    def looks_before(self) -> bool:
        """Whether a look at the last retain gradient may spare the similarity term: others are always active."""
        return self.retain_direction != "fresh" and self.may_rest

    @property
    def along(self) -> Way:
        """How the curvature of Φ in the penalty is computed."""
        return self.derivatives if self.penalty_derivatives == "same" else self.penalty_derivatives

    @property
    def secant(self) -> bool:
        """Whether it comes from the last inner step."""
        return self.penalises and self.along == "secant"
