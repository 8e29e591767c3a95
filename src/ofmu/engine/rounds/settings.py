"""What a run of OFMU goes by: every option given, none left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ofmu.engine.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of :class:`ofmu.methods.ofmu.OFMU`, where they are explained, with values in place of presets.

    What is neutral is left out of the presets and stands here.
    """

    objective: Objective
    lambda_eff: float
    balance: Literal["adaptive", "fixed"]
    retain_band: float
    similarity: Literal["none", "cosine", "squared_cosine", "squared_hinge"]
    margin: float
    retain_direction: Literal["fresh", "last"]
    beta: float
    rho: float
    rho_growth: float
    rho_max: float
    rho_cap: bool
    scale: Literal["raw", "relative"]
    guard: bool
    step: Literal["full", "projected"]
    derivatives: Literal["exact", "finite_difference"]
    inner_steps: int
    outer_steps: int
    optimiser: Literal["adamw", "sgd"]
    optimiser_states: Literal["one", "two"]
    base: Literal["sequential", "anchored", "literal"] = "sequential"
    sam_radius: float = 0.0
    sam_of: Literal["whole", "matrix"] = "whole"
    trust_region: float = 0.0
    trust_of: Literal["whole", "matrix"] = "whole"
    priority: str | float = "none"
    debias: Literal["moving", "halves", "off"] = "moving"

    @property
    def decorrelates(self) -> bool:
        """Whether Φ has a similarity term."""
        return self.step == "full" and self.similarity != "none" and self.beta > 0

    @property
    def penalises(self) -> bool:
        """Whether F has a penalty."""
        return self.step == "full" and self.rho > 0

    @property
    def holds_retain(self) -> bool:
        """Whether the retain gradient of the last outer step is kept."""
        return self.retain_direction == "last" or self.priority != "none"

    @property
    def looks_before(self) -> bool:
        """Whether a look at the last retain gradient may spare the similarity term: others are always active."""
        return self.retain_direction == "last" and self.similarity == "squared_hinge"
