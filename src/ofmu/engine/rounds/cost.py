"""How many gradients a round takes, for planning; the meter counts what it really takes."""

from __future__ import annotations

from ofmu.engine.rounds.settings import Settings


def gradients_a_round(settings: Settings) -> float:
    """Of a round without conflict, in gradients of one loss on one batch.

    Args:
        settings: of the run; a similarity that may be inactive counts as inactive.
    """
    return settings.inner_steps * _inner(settings) + settings.outer_steps * _outer(settings)


def _inner(settings: Settings) -> float:
    place = 1.0 if settings.sam_radius > 0 else 0.0
    if settings.step == "projected":
        return place + 2.0
    if not settings.decorrelates or settings.looks_before:
        return place + 1.0
    if settings.similarity == "squared_hinge":
        return place + 2.0
    return place + (6.0 if settings.derivatives == "exact" else 4.0)


def _outer(settings: Settings) -> float:
    if not settings.penalises:
        return 1.0
    if not settings.decorrelates or settings.similarity == "squared_hinge":
        return 3.0
    return 18.0 if settings.derivatives == "exact" else 8.0
