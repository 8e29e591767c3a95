"""What one model does on one set of examples, kept as plain numbers: the facts that every metric reads.

Text has one row for each scored token, images one row for each image. No text, no token ids and no pixels are
kept, so that a record can outlive the data it describes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ofmu.errors import InputError

Modality = Literal["text", "image"]

COLUMNS: dict[str, dict[str, type]] = {
    "text": {
        "position": np.int32,
        "nll": np.float64,
        "z": np.float64,
        "correct": np.bool_,
        "content": np.bool_,
    },
    "image": {
        "label": np.int32,
        "predicted": np.int32,
        "nll": np.float64,
        "confidence": np.float64,
        "entropy": np.float64,
        "modified_entropy": np.float64,
        "margin": np.float64,
    },
}
_METADATA = b"ofmu.record"
_FACT = "fact:"  # columns of a file with one value an example, repeated on each of its rows


@dataclass(frozen=True, eq=False)
class Record:
    """The facts of N examples in R rows (R = N for images).

    Columns of text: ``position`` (number of the token among the scored ones, from 0), ``nll`` (−log p of the
    true token, nats), ``z`` ((log p − μ)/σ, the true token's log-probability standardised over the vocabulary, for
    min-k++), ``correct`` (it was the most likely one), ``content`` (it belongs to S⁻: no end-of-turn token).

    Columns of images: ``label``, ``predicted``, ``nll`` (−log p_y, nats), ``confidence`` (p_y), ``entropy``,
    ``modified_entropy`` (nats) and ``margin`` (φ, the logit-scaled confidence).

    Args:
        modality: ``"text"`` or ``"image"``.
        ids: the N examples' ids, each once, in the order of the data.
        clusters: the group (author, document …) of each example: (N,).
        example: (R,), values in 0 … N-1 that do not fall: the example that a row belongs to.
        columns: name → (R,) array.
        facts: name → (N,) float64, what is known of an example as a whole: ``zlib_bytes`` and ``utf8_bytes`` of its
            answer, and what only further passes give (``rougeL_recall`` …, ``gradnorm``); NaN where not known.
        model: fingerprint of the model.
        data: fingerprint of the examples.
        classes: number K of classes or of vocabulary entries; 0 if not known.
        excluded: examples that could not be scored: id → reason.
        modes: metric → ``parity:…``, where another tool has worked out its values by a definition of its own; any other
            metric is ``correct``.

    Raises:
        ValueError: if lengths disagree, an id is there twice, or an example has no row.
    """

    modality: Modality
    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    example: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    facts: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    model: str = ""
    data: str = ""
    classes: int = 0
    excluded: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = set(COLUMNS[self.modality])
        if set(self.columns) != expected:
            raise ValueError(
                f"a record of {self.modality} has the columns {sorted(expected)}, not {sorted(self.columns)}"
            )
        if len(self.ids) != len(self.clusters) or len(set(self.ids)) != len(self.ids):
            raise ValueError("a record needs each id once, and a cluster for each")
        if any(len(column) != len(self.example) for column in self.columns.values()):
            raise ValueError("the columns of a record must all have one value a row")
        if any(len(fact) != len(self.ids) for fact in self.facts.values()):
            raise ValueError("the facts of a record must all have one value an example")
        if len(self.ids) and not np.all(np.bincount(self.example, minlength=len(self.ids)) > 0):
            raise ValueError("every example of a record needs a row; list those without one as excluded")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def key(self) -> str:
        """Hash of the model's and the data's fingerprints: another model can never pass for this one."""
        return hashlib.sha256(f"{self.model}\n{self.data}".encode()).hexdigest()

    def counts(self, where: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Number of rows of each example, those with ``where`` only: (N,)."""
        rows = self.example if where is None else self.example[where]
        return np.bincount(rows, minlength=len(self))

    def sums(self, column: str, where: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Σ over each example's rows in float64: (N,); with ``where`` (R,) over those rows only."""
        values = self.columns[column].astype(np.float64)
        rows = self.example
        if where is not None:
            values, rows = values[where], rows[where]
        return np.bincount(rows, weights=values, minlength=len(self)).astype(np.float64)

    def means(self, column: str, where: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Mean over each example's rows: (N,); NaN for an example without such a row.

        ``means("nll")`` is λ, the mean loss of each example in nats, for text and images alike.
        """
        counts = self.counts(where)
        return np.where(counts > 0, self.sums(column, where) / np.maximum(counts, 1), np.nan)

    def take(self, indices: Sequence[int]) -> Record:
        """The record of the examples at these positions, in rising order."""
        chosen = np.zeros(len(self), dtype=bool)
        chosen[np.asarray(indices, dtype=np.int64)] = True
        rows = chosen[self.example]
        number = np.cumsum(chosen) - 1
        return replace(
            self,
            ids=tuple(name for name, taken in zip(self.ids, chosen) if taken),
            clusters=tuple(name for name, taken in zip(self.clusters, chosen) if taken),
            example=number[self.example[rows]],
            columns={name: column[rows] for name, column in self.columns.items()},
            facts={name: fact[chosen] for name, fact in self.facts.items()},
        )

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file: columns ``id``, ``cluster`` and the facts; all else in its metadata."""
        index = pa.array(self.example.astype(np.int32))
        arrays: dict[str, Any] = {
            "id": pa.DictionaryArray.from_arrays(index, pa.array(self.ids, pa.string())),
            "cluster": pa.DictionaryArray.from_arrays(index, pa.array(self.clusters, pa.string())).cast(pa.string()),
        }
        for name, kind in COLUMNS[self.modality].items():
            arrays[name] = pa.array(np.asarray(self.columns[name], dtype=kind))
        for name, fact in self.facts.items():
            arrays[_FACT + name] = pa.array(np.asarray(fact, dtype=np.float64)[self.example])
        facts = {
            "modality": self.modality,
            "model": self.model,
            "data": self.data,
            "classes": self.classes,
            "excluded": dict(self.excluded),
            "modes": dict(self.modes),
        }
        table = pa.table(arrays).replace_schema_metadata({_METADATA: json.dumps(facts, sort_keys=True).encode()})
        pq.write_table(table, path, compression="zstd")

    @classmethod
    def from_parquet(cls, path: str | Path) -> Record:
        """Read what :meth:`to_parquet` wrote.

        Raises:
            InputError: if the file cannot be read or is no record.
        """
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path}: cannot be read as a Parquet file ({error})") from error
        metadata = table.schema.metadata or {}
        if _METADATA not in metadata:
            raise InputError(f"{path}: is no record of an evaluation (its Parquet metadata lacks 'ofmu.record')")
        facts = json.loads(metadata[_METADATA])
        missing = [name for name in COLUMNS[facts["modality"]] if name not in table.column_names]
        if missing:
            raise InputError(f"{path}: the record lacks {', '.join(missing)}; evaluate again with this version")
        ids, example = _numbered(table.column("id").to_pylist())
        clusters = table.column("cluster").to_pylist()
        first = np.unique(example, return_index=True)[1]
        return cls(
            modality=facts["modality"],
            ids=ids,
            clusters=tuple(clusters[row] for row in first),
            example=example,
            columns={name: table.column(name).to_numpy() for name in COLUMNS[facts["modality"]]},
            facts={
                name.removeprefix(_FACT): table.column(name).to_numpy()[first]
                for name in table.column_names
                if name.startswith(_FACT)
            },
            model=facts["model"],
            data=facts["data"],
            classes=facts["classes"],
            excluded=facts["excluded"],
            modes=facts.get("modes", {}),
        )


def _numbered(names: list[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Distinct names in order of first appearance, and the number of each row's name."""
    numbers: dict[str, int] = {}
    rows = np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), np.int64, len(names))
    return tuple(numbers), rows
