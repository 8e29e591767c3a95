"""The forget set against the holdout on one and the same model: what can be said where nobody has a retrained one.

Legend: A_u the AUC of an attack, D_f forget set, D_h holdout (same source, seen by no model); .5 is guessing.

This is no gap to retraining and is never called one: a model that never saw D_f, too, may be told apart here if D_f is
harder or easier than D_h (on TOFU retrained models have an AUC of .39). Therefore it decides nothing; it says whether
D_f stands out from never-seen data, on which side, and with which interval.

Source: METRICS.md §9, the case without a retrained and a base model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ofmu.evaluation import statistics
from ofmu.evaluation.gaps import Interval, measured
from ofmu.evaluation.metric import Attack, Measurement

GUESSING = 0.5
NEAR = 0.1  # of an AUC, as everywhere in the verdict
Side = Literal["remembered", "over-forgotten"]
Measurements = Mapping[str, Measurement]


@dataclass(frozen=True)
class Attacked:
    """How well one attack tells the forget set from the holdout.

    Args:
        name: of the attack.
        auc: A_u in [0, 1]; above .5 the forget set looks trained on, below it stranger than never-seen examples.
        interval: its 95 % interval, the clusters of both sets resampled; None: too few clusters.
        before: A of the model before unlearning; None if it was not measured.
    """

    name: str
    auc: float
    interval: Interval | None
    before: float | None

    @property
    def side(self) -> Side | None:
        """The side on which the whole interval lies; None: it contains .5, or there is none."""
        if self.interval is None or self.interval[0] <= GUESSING <= self.interval[1]:
            return None
        return "remembered" if self.interval[0] > GUESSING else "over-forgotten"

    @property
    def apart(self) -> bool | None:
        """True: told apart; False: the interval contains .5 and lies within .1 of it; None: undecided.

        >>> Attacked("mia_loss", 0.9, (0.8, 0.97), None).apart, Attacked("mia_loss", 0.5, (0.45, 0.56), None).apart
        (True, False)
        >>> Attacked("mia_loss", 0.5, (0.3, 0.7), None).apart is None
        True
        """
        if self.interval is None:
            return None
        low, high = self.interval
        near = low >= GUESSING - NEAR and high <= GUESSING + NEAR
        return True if self.side is not None else False if near else None


@dataclass(frozen=True)
class SetGap:
    """A figure of the forget set less the same of the holdout.

    Args:
        name: of the figure, e.g. ``"loss"``.
        forget: on the forget set.
        holdout: on the holdout.
        interval: 95 % interval of the difference, the sets resampled independently; None: too few clusters.
    """

    name: str
    forget: float
    holdout: float
    interval: Interval | None

    @property
    def value(self) -> float:
        """The forget set's less the holdout's."""
        return self.forget - self.holdout


def attacks(measurements: Measurements, role: str = "unlearned") -> list[Attacked]:
    """Every attack of forget set against holdout that has a value on this model."""
    found = []
    for name, measurement in measurements.items():
        auc = measured(measurement, role)
        if isinstance(measurement.metric, Attack) and measurement.metric.sets[1] == "holdout" and auc is not None:
            found.append(Attacked(name, auc, measurement.scores[role].interval, measured(measurement, "original")))
    return found


def set_gaps(measurements: Measurements, role: str = "unlearned") -> list[SetGap]:
    """Every figure that was measured on both sets of this model."""
    found = []
    for name, forget in measurements.items():
        kind = name.removeprefix("forget_")
        holdout = measurements.get(f"holdout_{kind}")
        if kind == name or holdout is None:
            continue
        on_forget, on_holdout = measured(forget, role), measured(holdout, role)
        if on_forget is not None and on_holdout is not None:
            bounds = None
            if role in forget.draws and role in holdout.draws:  # drawn under seeds of their own: independent
                bounds = statistics.interval(forget.draws[role] - holdout.draws[role])
            found.append(SetGap(kind, on_forget, on_holdout, bounds))
    return found


def distinguishable(found: Sequence[Attacked]) -> bool | None:
    """True if any attack tells the sets apart, False if all are near guessing, None: undecided."""
    answers = [attack.apart for attack in found]
    if True in answers:
        return True
    return False if answers and None not in answers else None


def as_json(measurements: Measurements) -> dict[str, Any]:
    """What ``metrics.json`` says under ``verdict.against_holdout``; all of it empty without a holdout."""
    found = attacks(measurements)
    return {
        "distinguishable": distinguishable(found),
        "attacks": [
            {"name": a.name, "auc": a.auc, "interval": _bounds(a.interval), "before": a.before, "side": a.side}
            for a in found
        ],
        "gaps": [
            {"name": g.name, "forget": g.forget, "holdout": g.holdout, "gap": g.value, "interval": _bounds(g.interval)}
            for g in set_gaps(measurements)
        ],
    }


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
