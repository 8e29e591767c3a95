"""All records of an evaluation: one for each model (role) and each set of examples."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from ofmu.errors import InputError
from ofmu.evaluation.record import Modality, Record

ROLES = ("original", "unlearned", "retrained", "base")
SETS = ("forget", "retain", "holdout", "test")
VIEWS = ("paraphrased", "wrong")
"""Other forms of a set's examples, kept as sets of their own: ``forget-paraphrased``, ``forget-wrong``."""
_ROLE = re.compile(r"original|unlearned|base|retrained(-[1-9][0-9]*)?")
_SET = re.compile(r"[a-z][a-z0-9_]*(-(paraphrased|wrong))?")


def place(set_name: str) -> tuple[int, str]:
    """Where a set stands in a list: :data:`SETS` in their order, then abilities by name; views after their set."""
    own = set_name.split("-")[0]
    return (SETS.index(own) if own in SETS else len(SETS), set_name)


class Records(Mapping[tuple[str, str], Record]):
    """(role, set) → :class:`Record`.

    Roles are ``original`` (o: trained on everything), ``unlearned`` (u), ``retrained`` (r: trained without
    the forget set; further seeds are ``retrained-2``, ``retrained-3`` …) and ``base`` (b: before any
    fine-tuning). Sets are ``forget``, ``retain``, ``holdout`` (same source, seen by no model), ``test`` and, under any
    other name, abilities that should stay (``real_authors`` …). A set may have views, sets of their own:
    ``<set>-paraphrased`` (other words for the answer) and ``<set>-wrong`` (wrong answers, ids ``id#0``, ``id#1`` …).

    Args:
        records: to begin with.
        removed_classes: image classes that were to be forgotten as a whole; None: seen from the records.
    """

    def __init__(
        self,
        records: Mapping[tuple[str, str], Record] | None = None,
        *,
        removed_classes: Collection[int] | None = None,
    ) -> None:
        self._records: dict[tuple[str, str], Record] = {}
        self._removed_classes = removed_classes
        for (role, set_name), record in (records or {}).items():
            self.add(role, set_name, record)

    def __getitem__(self, key: tuple[str, str]) -> Record:
        return self._records[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, role: str, set_name: str, record: Record) -> None:
        """Put in one record.

        Raises:
            ValueError: for an unknown role or set, or a record of another modality than the others.
        """
        if not _ROLE.fullmatch(role):
            raise ValueError(f"unknown role '{role}'; there are: {', '.join(ROLES)} (and retrained-2 …)")
        if not _SET.fullmatch(set_name):
            raise ValueError(f"'{set_name}' cannot be the name of a set: lower-case letters, digits and _ only")
        if self._records and record.modality != self.modality:
            raise ValueError(f"records of {self.modality} and of {record.modality} cannot be compared")
        self._records[role, set_name] = record

    @property
    def modality(self) -> Modality:
        """``"text"`` or ``"image"``."""
        return next(iter(self._records.values())).modality

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles present: original, unlearned, retrained …, base."""
        present = {role for role, _ in self._records}
        return tuple(sorted(present, key=lambda role: (ROLES.index(role.split("-")[0]), len(role), role)))

    @property
    def retrained(self) -> tuple[str, ...]:
        """The roles of retrained models, one for each seed."""
        return tuple(role for role in self.roles if role.startswith("retrained"))

    @property
    def sets(self) -> tuple[str, ...]:
        """Sets present: those of :data:`SETS` in their order, then the others by name."""
        return tuple(sorted({set_name for _, set_name in self._records}, key=place))

    @property
    def abilities(self) -> tuple[str, ...]:
        """Sets present that are none of :data:`SETS` and no view."""
        return tuple(name for name in self.sets if name not in SETS and "-" not in name)

    def of_set(self, set_name: str) -> dict[str, Record]:
        """Role → record of one set."""
        return {role: self._records[role, set_name] for role in self.roles if (role, set_name) in self._records}

    @property
    def removed_classes(self) -> frozenset[int]:
        """Image classes to be forgotten as a whole: all of the forget set's, if retain has none of them.

        As given at the start; else seen from the records, if those of the retain set are large enough (ten images a
        class) for the absence of a class to mean something.
        """
        if self._removed_classes is not None:
            return frozenset(int(label) for label in self._removed_classes)
        forget, retain = self.of_set("forget"), self.of_set("retain")
        if not forget or not retain or self.modality != "image":
            return frozenset()
        gone, kept = next(iter(forget.values())), next(iter(retain.values()))
        if len(kept) < 10 * kept.classes or np.isin(gone.columns["label"], kept.columns["label"]).any():
            return frozenset()
        return frozenset(int(label) for label in np.unique(gone.columns["label"]))

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``<role>.<set>.parquet`` for each record into a folder that exists; returns the files."""
        files = []
        for (role, set_name), record in self._records.items():
            files.append(Path(folder) / f"{role}.{set_name}.parquet")
            record.to_parquet(files[-1])
        return files

    @classmethod
    def load(cls, folder: str | Path) -> Records:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: if there is no record in the folder.
        """
        files = sorted(Path(folder).glob("*.*.parquet"))
        if not files:
            raise InputError(f"{folder}: holds no records (files named ROLE.SET.parquet)")
        found = cls()
        for file in files:
            role, set_name, _ = file.name.split(".")
            found.add(role, set_name, Record.from_parquet(file))
        return found
