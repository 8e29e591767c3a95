"""What unlearning cost in ability: the share that was lost, whether that counts as kept, and both in words.

Source: METRICS.md §9. **Differs** in one point: where only the retain set was measured and its examples are far better
known than before, nothing was lost and yet nothing is shown, for unlearning trains on those very examples. The answer
is then undecided and not yes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ofmu.evaluation import phrases
from ofmu.evaluation.gaps import Interval, below, mean_of, measured
from ofmu.evaluation.headlines import retention_gap
from ofmu.evaluation.metric import Measurement
from ofmu.evaluation.records import Records

Measurements = Mapping[str, Measurement]

TOLERANCE = 0.05
"""Share of the ability that may be lost and still counts as kept."""

USELESS = 0.5
"""Share of the ability lost, from which on a model has not forgotten but broken."""

BY_HEART = 0.25
"""Share by which a figure of the retain set may rise before it tells of learning by heart and not of ability."""

_UNKNOWN = "What it cost in ability cannot be told: the retain set was not measured on the models to compare."
_TRAINED_ON = "All of this was measured on the retain set, whose examples unlearning trains on"
_FURTHER = {
    "text": "give sets that it does not train on (ofmu evaluate --abilities)",
    "image": "give images that it does not train on (--test)",
}


@dataclass(frozen=True)
class Cost:
    """What unlearning cost in ability.

    Args:
        lost: the retention gap, a share in [0, 1]; NaN if it was not measured.
        interval: its 95 % interval.
        defined: how many of its parts were measured.
        parts: how many there are.
        elsewhere: whether one of them is of examples that unlearning does not train on.
        risen: the largest rise of a part above the yardstick, as a share of the yardstick's figure.
    """

    lost: float
    interval: Interval | None
    defined: int
    parts: int
    elsewhere: bool = True
    risen: float = 0.0

    @property
    def useless(self) -> bool:
        """Whether more than half of the ability is gone, by the whole interval."""
        return self.interval is not None and self.interval[0] > USELESS

    @property
    def by_heart(self) -> bool:
        """Whether only examples that it trains on were measured, and it now knows them far better than before."""
        return not self.elsewhere and self.risen > BY_HEART

    @property
    def kept(self) -> bool | None:
        """Whether ability was kept; None: cannot be told.

        >>> Cost(0.0, (0.0, 0.01), 1, 2).kept, Cost(0.2, (0.1, 0.3), 1, 2).kept
        (True, False)
        >>> Cost(0.0, (0.0, 0.0), 1, 2, elsewhere=False, risen=5.6).kept is None
        True
        """
        answer = below(self.interval, TOLERANCE)
        return None if answer and self.by_heart else answer


def cost(measurements: Measurements, records: Records) -> Cost:
    """The retention gap against the retrained models, or against the model before where there are none."""
    yardstick = _yardstick(records)
    gap = retention_gap(measurements, records, yardstick)
    found = [str(part["name"]) for part in gap.parts if part["value"] is not None]
    return Cost(
        lost=gap.value,
        interval=gap.interval,
        defined=gap.defined,
        parts=len(gap.parts),
        elsewhere=any(not name.startswith("retain_") for name in found),
        risen=max((_risen(measurements[name], yardstick) for name in found), default=0.0),
    )


def _yardstick(records: Records) -> Sequence[str]:
    return records.retrained or ("original",)


def _risen(measurement: Measurement, yardstick: Sequence[str]) -> float:
    """m_u / m_r − 1; a part is defined only where m_r is above chance, which is at least 0."""
    now, then = measured(measurement, "unlearned"), mean_of(measurement, yardstick)
    return 0.0 if not now or not then else now / then - 1


def sentences(measurements: Measurements, records: Records, found: Cost) -> list[str]:
    """What it cost, with the figures that this rests on."""
    if not found.defined:
        return [_UNKNOWN]
    yardstick = "the retrained model" if records.retrained else "the model before"
    judged = {True: "yes", False: "no", None: "undecided"}[found.kept]
    bounds = found.interval
    spread = "" if bounds is None else f" (95 % interval: {' to '.join(phrases.percent(bound) for bound in bounds)} %)"
    said = [
        f"Abilities kept: {judged}. Lost compared with {yardstick}: {phrases.percent(found.lost)} % of the measured "
        f"ability{spread}; up to 5 % counts as kept; measured: {found.defined} of {found.parts} kinds of ability."
    ]
    for name in ("retain_probability", "retain_accuracy", "test_accuracy"):
        measurement = measurements.get(name)
        if measurement is not None and measured(measurement, "unlearned") is not None:
            said.append(_figure(measurement, records))
    return said if found.elsewhere else [*said, _on_what(found, records)]


def _on_what(found: Cost, records: Records) -> str:
    """That nothing was measured outside of what is trained on, and what would show more."""
    cure = _FURTHER[records.modality]
    if found.by_heart:
        return (
            f"{_TRAINED_ON}; it knows them by {phrases.percent(found.risen)} % better than {_named(records)}, which "
            f"tells of learning by heart and not of ability: {cure}."
        )
    return f"{_TRAINED_ON}; what it can do beyond them is not shown: {cure}."


def _named(records: Records) -> str:
    return "the retrained model" if records.retrained else "before"


def _figure(measurement: Measurement, records: Records) -> str:
    values = {
        "before": measured(measurement, "original"),
        "now": measured(measurement, "unlearned"),
        "retrained": mean_of(measurement, records.retrained),
    }
    shown = ", ".join(f"{phrases.number(value)} {when}" for when, value in values.items() if value is not None)
    set_name, _, kind = measurement.metric.name.partition("_")
    return f"{phrases.capital(phrases.NAMES[kind])} on the {set_name} set: {shown}."
