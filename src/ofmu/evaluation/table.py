"""The per-example values of one metric on one set, lined up over the models that are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ofmu.evaluation.record import Record
from ofmu.evaluation.statistics import Floats, Ints, number_clusters

ABSENT = "not in this model's record"
UNKNOWN = "not measured"


@dataclass(frozen=True, eq=False)
class Values:
    """A metric's value for each of the N examples of a record.

    Args:
        values: (N,); anything where the example is excluded.
        excluded: id → reason, for examples that the metric is not defined on.
        part: (N,) mask of the examples that the metric is about; None for all. The others are not "excluded".
    """

    values: Floats
    excluded: Mapping[str, str] = field(default_factory=dict)
    part: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """Values of a set's examples, a row of the table each, for every role.

    Args:
        set_name: ``forget``, ``retain`` …
        half: ``"report"`` if the set was split, else ``"whole"``.
        data: fingerprint of the set.
        ids: the n examples.
        clusters: their clusters as numbers 0 … K-1: (n,).
        values: role → (n,), NaN where excluded or not finite.
        excluded: role → id → reason.
        broken: role → ids whose value is not finite without being excluded: the model itself is broken there.
    """

    set_name: str
    half: str
    data: str
    ids: tuple[str, ...]
    clusters: Ints
    values: Mapping[str, Floats]
    excluded: Mapping[str, Mapping[str, str]]
    broken: Mapping[str, tuple[str, ...]]

    def kept(self, role: str) -> NDArray[np.bool_]:
        """Mask (n,) of the examples that count for a role."""
        return np.isfinite(self.values[role])


def fact(record: Record, name: str) -> Values:
    """A fact of each example of a record; excluded where it is not known."""
    known = record.facts.get(name, np.full(len(record), np.nan))
    return Values(known, excluded={i: UNKNOWN for i, value in zip(record.ids, known) if np.isnan(value)})


def tabulate(
    set_name: str,
    records: Mapping[str, Record],
    measure: Callable[[str, Record], Values],
    halves: Mapping[str, str] | None,
) -> Table:
    """Line up what a metric says about the same examples under several models.

    Args:
        set_name: the set.
        records: role → record of that set.
        measure: (role, record) → the metric's per-example values.
        halves: id → half; only ``"report"`` is taken. None: the set was not split, all of it is taken.
    """
    columns = {role: (record, measure(role, record)) for role, record in records.items()}
    clusters: dict[str, str] = {}
    for record, found in columns.values():
        for index, (name, cluster) in enumerate(zip(record.ids, record.clusters)):
            if (found.part is None or found.part[index]) and _reported(set_name, name, halves):
                clusters.setdefault(name, cluster)
    ids = tuple(clusters)
    values, excluded, broken = {}, {}, {}
    for role, (record, found) in columns.items():
        values[role], excluded[role], broken[role] = _column(ids, record, found)
        left_out = {n: why for n, why in record.excluded.items() if halves is None or halves.get(n) == "report"}
        excluded[role] = {**left_out, **excluded[role]}
    return Table(
        set_name=set_name,
        half="whole" if halves is None else "report",
        data=next(iter(records.values())).data,
        ids=ids,
        clusters=number_clusters(list(clusters.values())),
        values=values,
        excluded=excluded,
        broken=broken,
    )


def _reported(set_name: str, name: str, halves: Mapping[str, str] | None) -> bool:
    if halves is None:
        return True
    if name not in halves:
        raise ValueError(f"example '{name}' of the {set_name} set belongs to neither half")
    return halves[name] == "report"


def _column(ids: tuple[str, ...], record: Record, found: Values) -> tuple[Floats, dict[str, str], tuple[str, ...]]:
    """One role's values in the order of the table, its exclusions and its broken examples."""
    at = {name: index for index, name in enumerate(record.ids)}
    column = np.full(len(ids), np.nan)
    excluded: dict[str, str] = {}
    broken = []
    for row, name in enumerate(ids):
        if name in found.excluded:
            excluded[name] = found.excluded[name]
        elif name not in at:
            excluded[name] = record.excluded.get(name, ABSENT)
        else:
            value = found.values[at[name]]
            if np.isfinite(value):
                column[row] = value
            else:
                broken.append(name)
    return column, excluded, tuple(broken)
