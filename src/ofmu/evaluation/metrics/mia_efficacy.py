"""MIA-efficacy: share of the forget images that an attack, fitted on known images, takes for never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Self

import numpy as np

from ofmu.data.halves import steer_report
from ofmu.evaluation.metric import Halves, Measurement, SetMean
from ofmu.evaluation.mia_efficacy import class_matched, fit_threshold, salun_unseen
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.score import Score
from ofmu.evaluation.statistics import Floats, generator
from ofmu.evaluation.table import Table, Values, tabulate

Feature = Literal["confidence", "correctness", "entropy", "modified_entropy"]
Mode = Literal["correct", "parity:salun"]

FEATURES: tuple[Feature, ...] = ("confidence", "correctness", "entropy", "modified_entropy")


class MiaEfficacy(SetMean):
    """Share of D_f that the attack calls non-member; in [0, 1], as retrained. "MIA" in tables: the confidence feature.

    ``correct``: members are a random part of the retain set, non-members of the test set, both with the class shares of
    D_f and from the half that steers; the attack is the threshold of greatest balanced accuracy on one feature.
    ``parity:salun``: RBF support-vector classifier, C = 3, γ = 1, on the confidence; members the first |D_t| retain
    images in stored order; whole sets only, so it has no value where the sets were dealt into halves.

    A class forgotten as a whole: its test images are non-members, members are of the other classes.

    Differs: a share and not per cent, as every other metric here. The public attack never sees a class that was
    forgotten as a whole as a non-member; its members are class-sorted where the data are (fault F23).

    Source: METRICS.md §8; Fan et al. 2024 (SalUn, arXiv 2310.12508).

    Args:
        feature: what the attack sees: −log p_y (confidence), 1 − [argmax = y], entropy or modified entropy.
        mode: ``correct`` or ``parity:salun``.
    """

    better: ClassVar = "as_retrained"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "image"
    unit: ClassVar = "share"
    measured_on: ClassVar = ("forget",)

    def __init__(self, feature: Feature = "confidence", mode: Mode = "correct") -> None:
        super().__init__("forget")
        ending = "" if feature == "confidence" else f"_{feature}"
        self.name = f"mia_efficacy{ending}{'_salun' if mode == 'parity:salun' else ''}"
        self.direction = "as_retrained"
        self._feature: Feature = feature
        self._mode: Mode = mode

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance a feature, and SalUn's attack on the confidence; without a test set the first one alone."""
        if "test" not in records.sets:
            return [cls()]
        return [*(cls(feature) for feature in FEATURES), cls("confidence", "parity:salun")]

    def values(self, record: Record) -> Values:
        """Not from one record alone."""
        raise TypeError(f"{self.name} needs the records of the retain and the test set too; use measure")

    def measure(
        self, records: Records, *, halves: Halves | None = None, roles: Sequence[str] | None = None
    ) -> Measurement:
        """The scores of all models (or of ``roles``), each with its mode, and with the reason if there is no attack."""
        found = super().measure(records, halves=halves, roles=roles)
        return replace(found, scores={role: self._explained(score) for role, score in found.scores.items()})

    def tables(self, records: Records, halves: Halves) -> tuple[Table, ...]:
        """The forget set's table: 1 where an image is taken for never seen; all excluded where there is no attack."""

        def measure(role: str, record: Record) -> Values:
            known = [records.get((role, name)) for name in ("retain", "test")]
            if any(each is None for each in known):
                return _without(record, "the attack needs the retain and the test set of this model")
            retain, test = (each for each in known if each is not None)
            if self._mode == "parity:salun":
                return self._salun(record, retain, test, halves)
            return self._threshold(record, retain, test, halves)

        return (tabulate("forget", records.of_set("forget"), measure, halves.get("forget")),)

    def _explained(self, score: Score) -> Score:
        reasons = set(score.excluded.values())
        if np.isfinite(score.value) or len(reasons) != 1:
            return replace(score, mode=self._mode)
        return replace(score, mode=self._mode, reason=reasons.pop(), excluded={})

    def _threshold(self, record: Record, retain: Record, test: Record, halves: Halves) -> Values:
        sides = [_steering(retain, halves.get("retain")), _steering(test, halves.get("test"))]
        for name, side in zip(("retain", "test"), sides):
            if not len(side):
                return _without(record, f"no image of the {name} set's steering half was measured")
        members, others = sides
        rng = generator("mia_efficacy", retain.data, test.data)
        inside, outside, lacking = class_matched(
            record.columns["label"].astype(np.int64),
            retain.columns["label"][members].astype(np.int64),
            test.columns["label"][others].astype(np.int64),
            rng,
        )
        if not len(inside) or not len(outside):
            return _without(record, "the test set's steering half holds no image of the forget set's classes")
        found = fit_threshold(self._scores(retain)[members[inside]], self._scores(test)[others[outside]])
        alone = np.isin(record.columns["label"], lacking)
        why = "the test set's steering half holds no image of its class"
        excluded = {name: why for name, own in zip(record.ids, alone) if own}
        return Values(found.unseen(self._scores(record)).astype(np.float64), excluded=excluded)

    def _salun(self, record: Record, retain: Record, test: Record, halves: Halves) -> Values:
        if "retain" in halves or "test" in halves:
            return _without(record, "parity needs whole sets, and these were dealt into halves")
        if len(retain) < len(test):
            return _without(record, f"parity needs at least as many retain as test images ({len(retain)}, {len(test)})")
        features = (each.columns[self._feature] for each in (retain, test, record))
        return Values(salun_unseen(*features).astype(np.float64))

    def _scores(self, record: Record) -> Floats:
        """a(z) of each image: high, where it looks unseen."""
        if self._feature == "confidence":
            return record.columns["nll"]  # the order of −p_y, without ties where p_y rounds to 1
        if self._feature == "correctness":
            return (record.columns["predicted"] != record.columns["label"]).astype(np.float64)
        return record.columns[self._feature]


def _steering(record: Record, halves: Mapping[str, str] | None) -> np.ndarray:
    """Positions of the half that steers; of a set that was never dealt, the one that would."""
    if halves is None:
        dealt = steer_report(record.clusters)
    else:
        dealt = [halves.get(name, "report") for name in record.ids]
    return np.flatnonzero(np.array(dealt) == "steer")


def _without(record: Record, reason: str) -> Values:
    return Values(np.full(len(record), np.nan), excluded=dict.fromkeys(record.ids, reason))
