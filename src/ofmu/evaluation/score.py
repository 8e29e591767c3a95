"""One number about one model, with everything needed to judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["up", "down", "as_retrained"]


@dataclass(frozen=True)
class Score:
    """One number about one model, with everything needed to judge it.

    Args:
        name: e.g. ``"forget_probability"``.
        role: the model: ``original``, ``unlearned``, ``retrained`` (``retrained-2`` …) or ``base``.
        value: the number; NaN if it cannot be given (never 0 for "missing"), with the ``reason``.
        direction: ``up``, ``down`` or ``as_retrained`` (best = the value of the retrained model).
        unit: what the number counts: ``"nats"``, ``"probability"``, ``"share"``, ``"AUC"`` …
        sets: the sets of examples it was measured on.
        half: ``"report"``, ``"steer"`` or, if nothing of these sets steered the run, ``"whole"``.
        n: number of examples behind it, over all its sets.
        clusters: number of clusters (authors, documents …) behind it, over all its sets.
        interval: 95 % bootstrap interval over clusters, or None with the ``reason``.
        excluded: id → why this example does not count.
        per_sample: id → value; ids of a metric of several sets are written ``set/id``.
        reason: why the value, or only the interval, is missing.
        against: fingerprint of the model that the values themselves refer to (the base model of ``mia_reference`` and
            ``ref_nll``); None for all others.
        reference: fingerprint of the model that ``gap`` and ``residual`` refer to.
        gap: value minus that of the retrained model (mean over its seeds).
        gap_interval: 95 % interval of the gap: the same resampled clusters for both models.
        residual: (m − m_r)/(m_o − m_r): 1 as before, 0 as retrained, below 0 gone past it.
        residual_interval: its 95 % interval.
        residual_reason: why there is no residual.
        parts: for a headline: the figures that it is made of.
        mode: ``"correct"`` or ``"parity:…"``.
        version: version of the definition.
    """

    name: str
    role: str
    value: float
    direction: Direction
    unit: str = ""
    sets: tuple[str, ...] = ()
    half: str = "whole"
    n: int = 0
    clusters: int = 0
    interval: tuple[float, float] | None = None
    excluded: Mapping[str, str] = field(default_factory=dict)
    per_sample: Mapping[str, float] = field(default_factory=dict, repr=False)
    reason: str | None = None
    against: str | None = None
    reference: str | None = None
    gap: float | None = None
    gap_interval: tuple[float, float] | None = None
    residual: float | None = None
    residual_interval: tuple[float, float] | None = None
    residual_reason: str | None = None
    parts: tuple[Mapping[str, object], ...] = ()
    mode: str = "correct"
    version: int = 1
