"""Options that were given but have no effect beside the others: refused, so that nobody believes in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofmu.engine.rounds.faults import GROWING
from ofmu.engine.rounds.settings import Settings
from ofmu.errors import InputError

PENALTY = ("guard", "rho_growth", "rho_schedule", "rho_power", "rho_max", "rho_matched", "undo_cap")
PENALTY += ("penalty_derivatives", "penalty_batches")
"""Options of the penalty alone."""

SIMILARITY = ("blocks", "block_weights", "retain_curvature", "refresh_every")
"""Options of the similarity term alone, besides what is of some similarities only."""


def check(given: Mapping[str, Any], preset: Mapping[str, Any], s: Settings) -> None:
    """Raise for the first option without effect.

    An option that has the preset's own value is never refused: a run's stored configuration has them all.

    Args:
        given: option → what the user gave, None where nothing.
        preset: option → its value in the preset.
        s: what both come to.

    Raises:
        InputError: one line, with what the option needs.
    """
    own = {name for name, value in given.items() if value is not None and value != preset.get(name)}
    for names, has_effect, needs in _conditions(s):
        if not has_effect and (idle := own.intersection(names)):
            raise InputError(f"method.{min(idle)} was given, but has no effect without {needs}")


def _conditions(s: Settings) -> list[tuple[tuple[str, ...], bool, str]]:
    """Options, whether they have an effect, and what they need for it."""
    of_class = ":" in s.similarity  # may take any of its options
    term = "a similarity, beta above 0 and step full"
    return [
        (("rho",), s.step == "full", "step full"),
        (PENALTY, s.penalises, "a penalty: rho above 0 and step full"),
        (("rho_power",), s.rho_schedule == "polynomial", "rho_schedule polynomial"),
        (("rho_growth",), s.rho_schedule in ("geometric", "adaptive"), "rho_schedule geometric or adaptive"),
        (("rho_max",), s.rho_schedule in GROWING, f"a rho that moves: rho_schedule {', '.join(GROWING)}"),
        (("beta",), s.step == "full" and s.similarity != "none", "a similarity and step full"),
        (SIMILARITY, s.decorrelates, term),
        (("margin",), of_class or "hinge" in s.similarity, "a hinge as similarity"),
        (("temperature",), of_class or s.similarity == "soft_hinge", "similarity soft_hinge"),
        (("smoothing",), of_class or s.similarity in ("euclid", "angle"), "similarity euclid or angle"),
        (("block_weights",), s.blocks != "whole", "blocks layer or tensor"),
        (("refresh_every",), s.inner_steps > 1, "inner_steps above 1"),
        (("derivatives", "curvature_share"), s.decorrelates or s.penalises, f"a penalty (rho above 0), or {term}"),
        (("sam_of",), s.sam_radius > 0, "sam_radius above 0"),
        (("trust_of",), s.trust_region > 0, "trust_region above 0"),
        (("adversary_rate",), s.adversary_steps > 0, "adversary_steps above 0"),
        (("band_opening",), s.balance == "adaptive", "balance adaptive"),
        (("retain_band",), s.balance == "adaptive" or s.priority != "none", "balance adaptive or a priority"),
        (("optimiser_states",), s.optimiser not in ("sgd", "sign"), "an optimiser that has states"),
    ]
