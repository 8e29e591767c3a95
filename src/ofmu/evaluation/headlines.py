"""The three headlines: forgetting gap, retention gap, privacy gap; each only together with its parts.

Source: METRICS.md §9. A part that was not measured is listed with its reason; a headline with fewer than half
of its parts has no value. No single number merges the three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ofmu.evaluation import statistics, unmeasured
from ofmu.evaluation.gaps import Interval, compared_draws, gap, mean_of, measured
from ofmu.evaluation.metric import Measurement
from ofmu.evaluation.records import Records
from ofmu.evaluation.score import Score
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.unmeasured import NEEDS

PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "forgetting_gap": {
        "text": (
            "forget_probability",
            "forget_rougeL_recall",
            "forget_extraction_strength",
            "forget_truth_ratio_knowledge",
            "forget_paraphrase_probability",
        ),
        "image": ("forget_accuracy", "forget_margin", "forget_entropy"),
    },
    "retention_gap": {
        "text": ("retain_probability", "retain_rougeL_recall"),
        "image": ("retain_accuracy", "test_accuracy"),
    },
    "privacy_gap": {
        "text": ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus"),
        "image": ("mia_confidence", "mia_entropy", "mia_modified_entropy", "u_lira"),
    },
}
ABILITY_PARTS = ("normalised_probability", "rougeL_recall", "truth_ratio")
"""What each further set that should stay known adds to the retention gap of text."""
Measurements = Mapping[str, Measurement]


@dataclass(frozen=True)
class Headline:
    """A headline and what it rests on.

    Args:
        name: ``forgetting_gap``, ``retention_gap`` or ``privacy_gap``.
        value: in [0, 1], over the parts that are defined; NaN if none is.
        interval: its 95 % interval; None if a part has none.
        parts: name, mode, values of the models, signed gap, interval, share or reason, for each part.
        defined: how many parts are defined.
    """

    name: str
    value: float
    interval: Interval | None
    parts: tuple[Mapping[str, object], ...]
    defined: int

    @property
    def coverage(self) -> str:
        """``k of m parts``."""
        return f"{self.defined} of {len(self.parts)} parts"

    @property
    def mode(self) -> str:
        """The modes of the parts that it rests on, e.g. ``correct + parity:open_unlearning``."""
        modes = [str(part["mode"]) for part in self.parts if part["value"] is not None]
        return " + ".join(dict.fromkeys(sorted(modes))) or "correct"

    def _wanted(self) -> str:
        """What would measure more parts, each said once; else the one reason why all others are missing."""
        reasons = list(dict.fromkeys(str(part["reason"]) for part in self.parts if part["value"] is None))
        wanted = [each.removeprefix(NEEDS) for each in reasons if each.startswith(NEEDS)]
        if wanted:
            return f"; more needs {' and '.join(wanted)}"
        return f"; {reasons[0]}" if len(reasons) == 1 else ""

    def score(self) -> Score:
        """As a score: NaN if fewer than half of the parts are defined."""
        enough = 2 * self.defined >= len(self.parts)
        reason = self.coverage if self.defined < len(self.parts) else None
        if not enough:
            reason = f"{self.coverage}: fewer than half{self._wanted()}"
        return Score(
            name=self.name,
            role="unlearned",
            value=self.value if enough else float("nan"),
            direction="down",
            unit="share",
            interval=self.interval if enough else None,
            reason=reason,
            parts=self.parts,
            mode=self.mode,
        )


@dataclass(frozen=True, eq=False)
class _Part:
    """One part: its share of the headline and the share's draws."""

    share: float
    draws: Floats | None


def headlines(measurements: Measurements, records: Records) -> list[Headline]:
    """All three, against the retrained models; every part undefined where there are none."""
    return [
        forgetting_gap(measurements, records, records.retrained),
        retention_gap(measurements, records, records.retrained),
        privacy_gap(measurements, records, records.retrained),
    ]


def forgetting_gap(measurements: Measurements, records: Records, reference: Sequence[str]) -> Headline:
    """Mean over defined parts of min(1, |residual|): 0 as the reference, 1 nothing forgotten or far past."""

    def part(measurement: Measurement, draws: dict[str, Floats] | None) -> _Part | str:
        found = gap(measurement, "unlearned", reference)
        if found is None or found.residual is None:
            return "not measured on every model" if found is None or found.reason is None else found.reason
        if draws is None or "original" not in draws:
            return _Part(min(1.0, abs(found.residual)), None)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (draws["unlearned"] - draws["reference"]) / (draws["original"] - draws["reference"])
        return _Part(min(1.0, abs(found.residual)), np.minimum(1.0, np.abs(ratio)))

    return _headline("forgetting_gap", measurements, records, reference, part, np.mean)


def retention_gap(measurements: Measurements, records: Records, reference: Sequence[str]) -> Headline:
    """Mean over defined parts of clip((m_r − m_u)/(m_r − chance), 0, 1): the share of ability lost.

    Chance is 1/K for the accuracy over K classes, ¼ for multiple choice, 0 for probabilities. In a bootstrap draw,
    too, a part on which the reference is at chance has nothing to lose, and the mean is over the others.
    """
    classes = max((record.classes for record in records.values()), default=0)

    def part(measurement: Measurement, draws: dict[str, Floats] | None) -> _Part | str:
        m_u, m_r = measured(measurement, "unlearned"), mean_of(measurement, reference)
        chance = 1 / classes if records.modality == "image" and classes else measurement.metric.chance
        if m_u is None or m_r is None:
            return "not measured on every model"
        bounds = None if draws is None else statistics.interval(draws["reference"])
        if m_r <= chance or (bounds is not None and bounds[0] <= chance):
            return f"the reference is not clearly better than chance ({chance:.4g}), so that there is nothing to lose"
        share = float(np.clip((m_r - m_u) / (m_r - chance), 0, 1))
        if draws is None:
            return _Part(share, None)
        above = draws["reference"] - chance
        lost = (draws["reference"] - draws["unlearned"]) / np.where(above > 0, above, np.nan)
        return _Part(share, np.clip(lost, 0, 1))

    return _headline("retention_gap", measurements, records, reference, part, _mean_of_defined)


def _mean_of_defined(shares: ArrayLike, axis: int | None = None) -> Floats:
    """The mean of what is not NaN; NaN where nothing else is."""
    given = np.asarray(shares, dtype=np.float64)
    defined = np.isfinite(given)
    with np.errstate(invalid="ignore"):
        return np.where(defined, given, 0.0).sum(axis=axis) / defined.sum(axis=axis)


def privacy_gap(measurements: Measurements, records: Records, reference: Sequence[str]) -> Headline:
    """Max over attacks of |A_u − A_r| / max(A_r, 1 − A_r): the worst attack counts."""

    def part(measurement: Measurement, draws: dict[str, Floats] | None) -> _Part | str:
        a_u, a_r = measured(measurement, "unlearned"), mean_of(measurement, reference)
        if a_u is None or a_r is None:
            return "not measured on every model"
        share = abs(a_u - a_r) / max(a_r, 1 - a_r)
        if draws is None:
            return _Part(share, None)
        a = draws["reference"]
        return _Part(share, np.abs(draws["unlearned"] - a) / np.maximum(a, 1 - a))

    return _headline("privacy_gap", measurements, records, reference, part, np.max)


def _headline(
    name: str,
    measurements: Measurements,
    records: Records,
    reference: Sequence[str],
    share: Callable[[Measurement, dict[str, Floats] | None], _Part | str],
    merge: Callable[..., Floats],
) -> Headline:
    """Parts one by one, then their mean or maximum: the same clusters in every part of the same data."""
    parts, found = [], []
    for part_name in part_names(name, records):
        measurement = measurements.get(part_name)
        part: _Part | str = "no retrained reference" if not reference else unmeasured.reason(part_name)
        if measurement is not None and reference:
            draws = measurement.draws_for(name)
            part = share(measurement, compared_draws(draws, ("unlearned", "original"), reference, name))
            if isinstance(part, str):
                part = next((s.reason for s in measurement.scores.values() if np.isnan(s.value) and s.reason), part)
        if isinstance(part, _Part):
            found.append(part)
        parts.append(_described(part_name, measurement, part, reference))
    if not found:
        return Headline(name, float("nan"), None, tuple(parts), 0)
    draws = [part.draws for part in found if part.draws is not None]
    bounds = statistics.interval(merge(np.stack(draws), axis=0)) if len(draws) == len(found) else None
    return Headline(name, float(merge([part.share for part in found])), bounds, tuple(parts), len(found))


def part_names(headline: str, records: Records) -> tuple[str, ...]:
    """The scores that a headline is made of."""
    names = PARTS[headline][records.modality]
    if headline == "retention_gap" and records.modality == "text":
        names += tuple(
            f"{ability}_{part}" for ability in records.abilities for part in _ability_parts(ability, records)
        )
    return names


def _ability_parts(ability: str, records: Records) -> tuple[str, ...]:
    chosen = any("choice_accuracy" in record.facts for record in records.of_set(ability).values())
    return ("choice_accuracy",) if chosen else ABILITY_PARTS


def _described(
    name: str, measurement: Measurement | None, part: _Part | str, reference: Sequence[str]
) -> dict[str, object]:
    """What is printed under the headline for one part."""
    described: dict[str, object] = {
        "name": name,
        "value": part.share if isinstance(part, _Part) else None,
        "reason": part if isinstance(part, str) else None,
        "mode": "correct",
    }
    if measurement is not None:
        found = gap(measurement, "unlearned", reference) if reference else None
        described |= {
            "mode": next((s.mode for s in measurement.scores.values() if s.mode != "correct"), "correct"),
            "original": measured(measurement, "original"),
            "unlearned": measured(measurement, "unlearned"),
            "retrained": mean_of(measurement, reference),
            "gap": None if found is None else found.value,
            "gap_interval": None if found is None else found.interval,
        }
    return described
