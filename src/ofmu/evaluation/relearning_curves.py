"""Curves of relearning, compared: how far apart they are, when half is back, and the relearning gap.

Legend: s step, x = log₂(1 + s), so that step 0 is at x = 0 and the curves have no hole at their beginning; m_u(s),
m_r(s) the mean loss of forget examples *not taught* in the unlearned and the retrained model after s steps.

Source: METRICS.md §12.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofmu.evaluation import statistics
from ofmu.evaluation.statistics import Floats

Curve = Mapping[str, Any]
"""One model, seed and setting: ``role``, ``seed``, ``taught``, ``rate``, ``steps``, ``loss``, ``by_cluster`` …"""


def area(steps: Sequence[int], u: Sequence[float], r: Sequence[float]) -> float:
    """∫ (m_u − m_r) dx over x = log₂(1 + s), trapezoids; signed, in units of the measure times doublings.

    Args:
        steps: ascending, the first 0.
        u: m_u at each.
        r: m_r at each.

    Returns:
        0 for equal curves; for losses below 0 where the unlearned model relearns faster.

    >>> area([0, 1, 3], [2.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    -1.5
    """
    return float(_integral(np.asarray(steps), np.asarray(u, dtype=float) - np.asarray(r, dtype=float)))


def steps_to_half(steps: Sequence[int], u: Sequence[float], original: float, retrained: float) -> int | None:
    """The first step measured at which half of m_o − m_r is back: (m_u(s) − m_r)/(m_o − m_r) ≥ ½.

    Args:
        steps: measured.
        u: m_u at each.
        original: m_o before teaching.
        retrained: m_r before teaching.

    Returns:
        None if it does not come back within these steps, or where o and r are equal.

    >>> steps_to_half([0, 1, 2, 4], [5.0, 4.0, 2.9, 2.0], 0.0, 6.0)
    2
    """
    if original == retrained:
        return None
    back = (np.asarray(u, dtype=float) - retrained) / (original - retrained)
    return next((step for step, share in zip(steps, back) if share >= 0.5), None)


def relearning_gap(
    steps: Sequence[int], u: Floats, r: Floats, original: Floats | float, retrained: Floats | float
) -> Floats:
    """Share of what retraining takes away that comes back in the unlearned model beyond the retrained one.

    The mean over x = log₂(1 + s) of clip((m_u(s) − m_r(s))/(m_o(0) − m_r(0)), 0, 1): 0 as retrained at every step,
    1 as original. A model pushed past the retrained one does not earn credit for it at later steps.

    Args:
        steps: (S,), ascending, the first 0.
        u: (…, S) losses of the unlearned model.
        r: (…, S) of the retrained one.
        original: (…), m_o(0).
        retrained: (…), m_r(0).

    Returns:
        (…), in [0, 1]; down is better.

    >>> float(relearning_gap([0, 1, 3], np.array([6.0, 3.0, 3.0]), np.array([6.0, 6.0, 6.0]), 0.0, 6.0))
    0.375
    """
    span = np.asarray(original, dtype=float) - np.asarray(retrained, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip((np.asarray(u) - np.asarray(r)) / span[..., None], 0.0, 1.0)
    x = np.asarray(steps)
    return _integral(x, share) / math.log2(1 + x[-1])


def _integral(steps: np.ndarray, values: Floats) -> Floats:
    x = np.log2(1.0 + steps)
    return np.asarray(((values[..., 1:] + values[..., :-1]) / 2 * np.diff(x)).sum(axis=-1))


@dataclass(frozen=True, eq=False)
class Pooled:
    """The curves of one setting: every model and seed, cluster by cluster.

    Args:
        steps: (S,).
        counts: (seeds, K), examples of each cluster that were not taught under a seed.
        sums: role → (seeds, K, S), sums of their losses.
    """

    steps: tuple[int, ...]
    counts: Floats
    sums: Mapping[str, Floats]

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> Pooled:
        """From curves of the same setting; every role has every seed."""
        roles, seeds = (list(dict.fromkeys(curve[key] for curve in curves)) for key in ("role", "seed"))
        names = list(dict.fromkeys(name for curve in curves for name in curve["by_cluster"]))
        steps = tuple(curves[0]["steps"])
        counts = np.zeros((len(seeds), len(names)))
        sums = {role: np.zeros((len(seeds), len(names), len(steps))) for role in roles}
        for curve in curves:
            seed = seeds.index(curve["seed"])
            for name, (count, losses) in curve["by_cluster"].items():
                counts[seed, names.index(name)] = count
                sums[curve["role"]][seed, names.index(name)] = losses  # None becomes NaN
        return cls(steps, counts, sums)

    def gap(self) -> tuple[float | None, Floats | None, str | None]:
        """The relearning gap, its bootstrap draws, and the reason for what is missing of the two."""
        whole = self._gaps(np.ones((1, self.counts.shape[1])))
        if not np.isfinite(whole).all():
            return None, None, "a loss is not finite, or original and retrained model are the same on these examples"
        if self.counts.shape[1] < statistics.MIN_CLUSTERS:
            return float(whole[0]), None, f"fewer than {statistics.MIN_CLUSTERS} clusters: no interval"
        draws = np.concatenate([self._gaps(weights) for weights in self._weights()])
        return float(whole[0]), draws, None

    def _gaps(self, weights: Floats) -> Floats:
        """The gap for each row of cluster weights, the mean over the seeds: (B, K) → (B,)."""
        gaps = []
        for seed, counts in enumerate(self.counts):
            with np.errstate(divide="ignore", invalid="ignore"):
                means = {r: weights @ each[seed] / (weights @ counts)[:, None] for r, each in self.sums.items()}
            retrained = np.mean([course for role, course in means.items() if role.startswith("retrained")], axis=0)
            span = means["original"][:, 0], retrained[:, 0]
            gaps.append(relearning_gap(self.steps, means["unlearned"], retrained, *span))
        return np.mean(gaps, axis=0)

    def _weights(self, block: int = 1000) -> Iterator[Floats]:
        """How often each cluster is drawn, the same for every model and seed: blocks (b, K)."""
        count = self.counts.shape[1]
        rng = statistics.generator("relearning_gap", str(count))
        for _ in range(statistics.RESAMPLES // block):
            yield rng.multinomial(count, np.full(count, 1 / count), size=block).astype(np.float64)


def headline(curves: Sequence[Curve]) -> dict[str, Any]:
    """The relearning gap: the largest over what was taught and the step sizes, means over seeds, clusters resampled.

    Returns:
        ``{"name", "value", "interval", "reason", "parts"}``; value None with its reason.
    """
    found: dict[str, Any] = {"name": "relearning_gap", "value": None, "interval": None, "direction": "down"}
    roles = {curve["role"] for curve in curves}
    missing = [name for name in ("retrained", "original") if not any(role.startswith(name) for role in roles)]
    if missing:
        return found | {"reason": f"no {' and no '.join(missing)} model", "parts": []}
    parts, draws = [], []
    for taught, rate in dict.fromkeys((c["taught"], c["rate"]) for c in curves):
        chosen = [c for c in curves if (c["taught"], c["rate"]) == (taught, rate) and c["loss"]]
        if not chosen:
            continue
        value, drawn, reason = Pooled.of(chosen).gap()
        parts.append({"taught": taught, "rate": rate, "value": value, "reason": reason})
        if value is not None:
            draws.append((value, drawn))
    if not draws:
        reasons = list(dict.fromkeys(part["reason"] for part in parts if part["reason"]))
        return found | {"reason": "; ".join(reasons) or "nothing was measured", "parts": parts}
    bounds = None
    if all(drawn is not None for _, drawn in draws):
        bounds = statistics.interval(np.max([drawn for _, drawn in draws if drawn is not None], axis=0))
    value = max(value for value, _ in draws)
    reason = None if bounds else f"fewer than {statistics.MIN_CLUSTERS} clusters: no interval"
    return found | {"value": value, "interval": bounds, "reason": reason, "parts": parts}
