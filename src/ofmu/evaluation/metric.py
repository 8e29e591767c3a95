"""What a metric is: a pure function of records that gives a number and its interval, or the reason for none.

A file ``metrics/<name>.py`` with one class adds a metric; a package elsewhere adds one through the
entry-point group ``ofmu.metrics``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np

from ofmu.evaluation import statistics
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import SETS, Records
from ofmu.evaluation.score import Direction, Score
from ofmu.evaluation.statistics import Floats
from ofmu.evaluation.table import UNKNOWN, Table, Values, fact, tabulate

Halves = Mapping[str, Mapping[str, str]]  # set → id → "steer" | "report"
WANTED_AS_RETRAINED = ("forget", "holdout")  # every other set should stay as it is


@dataclass(frozen=True, eq=False)
class Measurement:
    """A metric on every model at once, so that models are compared on the same resampled clusters.

    Args:
        metric: what was measured.
        tables: its per-example values, a table for each of its sets; empty if a set is missing altogether.
        scores: role → score.
        draws: role → (B,) bootstrap draws; roles without an interval are missing.
    """

    metric: Metric
    tables: tuple[Table, ...]
    scores: Mapping[str, Score]
    draws: Mapping[str, Floats]

    def draws_for(self, name: str) -> dict[str, Floats]:
        """Draws under another seed, for a figure of several metrics: the same clusters of the same data."""
        return self.metric.draw(self.tables, tuple(self.draws), name)


class Metric(ABC):
    """A pure function of records. A class here says how to measure; an instance, on which sets.

    Class attributes:
        better: which way is better where the examples should stay known (retain, test).
        needs: inputs by their names in METRICS.md §0, e.g. ``answers``, ``holdout``.
        modality: ``"text"``, ``"image"``, or ``"any"``.
        unit: of the value.
        chance: the value of a model that knows nothing, where that is not 0.
        version: of the definition; raised when a value would change.
        refers_to: the role of the model that values refer to, where there is one (``base``).
        judged: whether the verdict counts it where it is about the forget set or an attack.

    Attributes:
        name: the score's name, e.g. ``"forget_loss"``.
        sets: the sets that it reads.
        direction: ``up``, ``down`` or ``as_retrained`` on these sets.
    """

    better: ClassVar[Direction]
    needs: ClassVar[frozenset[str]]
    modality: ClassVar[Literal["text", "image", "any"]]
    unit: ClassVar[str]
    chance: ClassVar[float] = 0.0
    version: ClassVar[int] = 1
    refers_to: ClassVar[str] = ""
    judged: ClassVar[bool] = True

    name: str
    sets: tuple[str, ...]
    direction: Direction

    @classmethod
    @abstractmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """The instances that these records ask for: one for each set, or one attack."""

    @abstractmethod
    def values(self, record: Record) -> Values:
        """The value of each example of a record, in its order."""

    @abstractmethod
    def point(self, values: Sequence[Floats]) -> float:
        """The score of per-example values, one array a set, excluded examples taken out."""

    @abstractmethod
    def resample(self, values: Sequence[Floats], tables: Sequence[Table], rng: np.random.Generator) -> Floats:
        """Bootstrap draws (M, B) for values (M, n) a set, NaN where excluded."""

    def score(self, records: Records, *, role: str = "unlearned", halves: Halves | None = None) -> Score:
        """The score of one model.

        Args:
            records: what the models did.
            role: which model.
            halves: set → id → half, for sets that were split; only the half ``"report"`` counts.
        """
        return self.measure(records, halves=halves, roles=(role,)).scores[role]

    def measure(
        self, records: Records, *, halves: Halves | None = None, roles: Sequence[str] | None = None
    ) -> Measurement:
        """The scores of all models (or of ``roles``), with the draws that compare them."""
        wanted = records.roles if roles is None else tuple(roles)
        missing = [name for name in self.sets if name not in records.sets]
        if missing:
            reason = f"no {' and no '.join(missing)} set"
            return Measurement(self, (), {role: self._without(role, reason) for role in wanted}, {})
        tables = self.tables(records, halves or {})
        against = next((records[key].model for on in self.sets if (key := (self.refers_to, on)) in records), None)
        scores = {
            role: replace(self._scored(role, tables), mode=self._mode_of(records, role), against=against)
            for role in wanted
        }
        usable = tuple(role for role, score in scores.items() if np.isfinite(score.value))
        draws = self.draw(tables, usable, self.name)
        few = _too_few(tables)
        scored = {
            role: _with_interval(score, draws.get(role), few) if role in usable else score
            for role, score in scores.items()
        }
        return Measurement(self, tables, scored, draws)

    def read(self, record: Record) -> Values:
        """The value of each example: what another tool's log says under the metric's name, else :meth:`values`."""
        name = file_name(type(self))
        return fact(record, name) if name in record.facts else self.values(record)

    def tables(self, records: Records, halves: Halves) -> tuple[Table, ...]:
        """The per-example values of every model, a table for each of the sets."""
        return tuple(
            tabulate(name, records.of_set(name), lambda _, record: self.read(record), halves.get(name))
            for name in self.sets
        )

    def draw(self, tables: Sequence[Table], roles: Sequence[str], name: str) -> dict[str, Floats]:
        """Bootstrap draws of several roles on the same clusters, under the seed hash(name, data)."""
        if not roles or not tables or _too_few(tables):
            return {}
        rng = statistics.generator(name, *(table.data for table in tables))
        values = [np.stack([table.values[role] for role in roles]) for table in tables]
        return dict(zip(roles, self.resample(values, tables, rng)))

    def _mode_of(self, records: Records, role: str) -> str:
        """The mode of the values: public as soon as they are on one of the sets."""
        name = file_name(type(self))
        modes = [records[role, on].modes.get(name, "correct") for on in self.sets if (role, on) in records]
        return next((mode for mode in modes if mode != "correct"), "correct")

    def _scored(self, role: str, tables: tuple[Table, ...]) -> Score:
        """Value and counts of one role, without an interval."""
        absent = [table.set_name for table in tables if role not in table.values]
        if absent:
            return self._without(role, f"not measured on the {' and '.join(absent)} set")
        excluded = _joined([table.excluded[role] for table in tables], tables)
        broken = _joined([dict.fromkeys(table.broken[role], "") for table in tables], tables)
        kept = [table.kept(role) for table in tables]
        reason = None
        value = float("nan")
        if broken:
            shown = ", ".join(list(broken)[:5]) + (" …" if len(broken) > 5 else "")
            reason = f"{len(broken)} {'values are' if len(broken) > 1 else 'value is'} not finite: {shown}"
        elif not all(mask.any() for mask in kept):
            unknown_only = set(excluded.values()) == {UNKNOWN}
            reason = UNKNOWN if unknown_only else "no example is left to measure"
        else:
            value = self.point([table.values[role][mask] for table, mask in zip(tables, kept)])
        per_sample = _joined(
            [dict(zip(np.array(t.ids)[mask], t.values[role][mask].tolist())) for t, mask in zip(tables, kept)],
            tables,
        )
        return Score(
            name=self.name,
            role=role,
            value=value,
            direction=self.direction,
            unit=self.unit,
            sets=self.sets,
            half=next((table.half for table in tables if table.half != "whole"), "whole"),
            n=sum(int(mask.sum()) for mask in kept),
            clusters=sum(len(np.unique(t.clusters[mask])) for t, mask in zip(tables, kept)),
            excluded=excluded,
            per_sample=per_sample,
            reason=reason,
            version=self.version,
        )

    def _without(self, role: str, reason: str) -> Score:
        return Score(
            self.name,
            role,
            float("nan"),
            self.direction,
            unit=self.unit,
            sets=self.sets,
            reason=reason,
            version=self.version,
        )


class SetMean(Metric):
    """A metric that is the mean over the examples of one set; its name is the set's and the metric's.

    Better is ``better`` on what should stay; on forget set and holdout, what the retrained model does.

    Args:
        on: the set, e.g. ``"forget"``.
    """

    measured_on: ClassVar[tuple[str, ...]] = SETS

    def __init__(self, on: str) -> None:
        self.sets = (on,)
        self.name = f"{on}_{file_name(type(self))}"
        self.direction = "as_retrained" if on in WANTED_AS_RETRAINED else self.better

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance a set; the test set only if there is one or images are measured."""
        wants_test = "test" in records.sets or records.modality == "image"
        abilities = records.abilities if cls.measured_on is SETS else ()
        return [cls(on) for on in (*cls.measured_on, *abilities) if on != "test" or wants_test]

    def point(self, values: Sequence[Floats]) -> float:
        """The mean."""
        return float(values[0].mean())

    def resample(self, values: Sequence[Floats], tables: Sequence[Table], rng: np.random.Generator) -> Floats:
        """Draws of the mean over resampled clusters."""
        return statistics.bootstrap_means(values[0], tables[0].clusters, rng)


class FactMean(SetMean):
    """A metric that is the mean over examples of a fact that a further pass has put into the records.

    Class attributes:
        fact: its name in :attr:`Record.facts`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"answers", "generations"})
    modality: ClassVar = "text"
    fact: ClassVar[str]

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance for each set on which a model has the fact."""
        found = {name for (_, name), record in records.items() if cls.fact in record.facts}
        return [cls(name) for name in records.sets if name in found]

    def values(self, record: Record) -> Values:
        """The fact of each example; excluded where it is not known."""
        return fact(record, self.fact)


class Attack(Metric):
    """A membership attack by threshold: AUC of the forget set against examples that no model was trained on.

    ``values`` are attack scores a(z), oriented like a loss: high = unlikely to have been trained on. 1 = the
    forget set still looks trained-on; best is not .5 but the retrained model's value (METRICS.md §4).

    Args:
        non_members: the set that no model was trained on.
    """

    better: ClassVar[Direction] = "as_retrained"
    unit: ClassVar[str] = "AUC"

    def __init__(self, non_members: str = "holdout") -> None:
        self.sets = ("forget", non_members)
        self.name = file_name(type(self))
        self.direction = "as_retrained"

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance: against the holdout, or for images without one against the test set."""
        use_test = "holdout" not in records.sets and "test" in records.sets and records.modality == "image"
        return [cls("test" if use_test else "holdout")]

    def point(self, values: Sequence[Floats]) -> float:
        """AUC by mid-ranks."""
        return statistics.auc(values[0], values[1])

    def resample(self, values: Sequence[Floats], tables: Sequence[Table], rng: np.random.Generator) -> Floats:
        """Draws of the AUC, the two sets' clusters resampled independently."""
        return statistics.bootstrap_aucs(values[0], tables[0].clusters, values[1], tables[1].clusters, rng)


def file_name(kind: type[Metric]) -> str:
    """A metric's name: that of its file."""
    return kind.__module__.rpartition(".")[2]


def _joined(maps: Sequence[Mapping[str, object]], tables: Sequence[Table]) -> dict:
    """Maps by id of one set as they are; of several sets with ids written ``set/id``."""
    if len(maps) == 1:
        return {str(key): value for key, value in maps[0].items()}
    return {f"{table.set_name}/{key}": value for part, table in zip(maps, tables) for key, value in part.items()}


def _too_few(tables: Sequence[Table]) -> str | None:
    """Why no interval can be given: a set with fewer than eight clusters."""
    for table in tables:
        count = len(np.unique(table.clusters))
        if count < statistics.MIN_CLUSTERS:
            return (
                f"too few clusters for an interval: {count} in the {table.set_name} set, "
                f"at least {statistics.MIN_CLUSTERS} are needed"
            )
    return None


def _with_interval(score: Score, draws: Floats | None, few: str | None) -> Score:
    if draws is None:
        return replace(score, reason=few)
    found = statistics.interval(draws)
    reason = None if found else "the value cannot be computed on some resamples of the clusters"
    return replace(score, interval=found, reason=reason)
