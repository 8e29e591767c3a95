"""What is done to ∇Φ before the step is taken along it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, final

from ofmu.core.ascent import Inner, projected
from ofmu.engine.rounds.settings import Settings


class Shaping(ABC):
    """A change of the inner direction; those of a run are applied one after the other."""

    @abstractmethod
    def shaped(self, seen: Inner) -> Inner:
        """The same with another ``gradient``."""

    def state_dict(self) -> dict[str, Any]:
        """What later directions depend on; empty if nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (most remember nothing)
        """Go on from a checkpoint."""


@final
class Projected(Shaping):
    """C8: d = g_f − max(0, c) a v, without the part along g_r where the two gradients are in conflict."""

    def shaped(self, seen: Inner) -> Inner:
        """The direction d in the place of ∇Φ."""
        return projected(seen)


def shapings_of(settings: Settings) -> Sequence[Shaping]:
    """What a run does to its inner directions, in this order."""
    return [Projected()] if settings.step == "projected" else []
