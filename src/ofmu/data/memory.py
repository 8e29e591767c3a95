"""Data that is already in memory: lists of dicts, texts or pairs, a ``datasets`` or torch ``Dataset``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

import numpy as np

from ofmu.data import pictures
from ofmu.data.arrow import table_of
from ofmu.data.examples import ImageExamples
from ofmu.data.image_sources import image_examples
from ofmu.data.tables import Table, kind
from ofmu.errors import InputError

SOURCE = "data in memory"


def rows_in_memory(data: Any) -> Table | ImageExamples:
    """What in-memory data holds: rows to be told apart by their columns, or images with labels.

    Args:
        data: a sequence of mappings (rows), of strings (texts) or of pairs (image, label); a
            ``datasets.Dataset`` or ``IterableDataset``; a torch ``Dataset`` of pairs (image, label) with a
            length. An image is a Pillow image, uint8 [H, W], [H, W, C] or a uint8 tensor [C, H, W]; or a
            float tensor [C, H, W]: made back into uint8 if it is exactly pixels / 255, else taken as
            prepared by its owner.

    Raises:
        InputError: for anything else; names the row.
    """
    if _is_dataset("datasets", data):
        return table_of_dataset(data, SOURCE)
    if isinstance(data, str | bytes | Mapping) or not (_is_dataset("torch", data) or isinstance(data, Sequence)):
        raise InputError(
            f"{SOURCE} is {kind(data)}, but must be a list of rows (dicts), of texts or of pairs "
            f"(image, label), a datasets.Dataset or a torch Dataset of (image, label)"
        )
    items = _items(data)
    if not items or isinstance(items[0], Mapping | str):
        return _rows(items)
    return _pairs(items)


def table_of_dataset(dataset: Any, source: str) -> Table:
    """The rows of a ``datasets.Dataset`` or ``IterableDataset``; images stay encoded."""
    import pyarrow as pa

    features = dataset.features.to_dict() if dataset.features else None
    encoded = dataset.with_format("arrow")
    parts: Iterable[Any] = encoded.iter(batch_size=1000)
    tables = list(parts)
    return table_of(pa.concat_tables(tables), source, features) if tables else Table(source, [])


def _items(data: Any) -> list[Any]:
    if not isinstance(data, Sized):
        raise InputError(f"{SOURCE} is a torch Dataset without a length; one with a length is expected")
    rows: Any = data
    return [rows[row] for row in range(len(data))]  # a torch Dataset need not be iterable


def _rows(items: Sequence[Any]) -> Table:
    rows = [{"text": item} if isinstance(item, str) else item for item in items]
    for row, item in enumerate(rows):
        if not isinstance(item, Mapping):
            raise InputError(f"{SOURCE}, row {row}: found {kind(item)}, but row 0 is a row (dict) or a text")
    return Table(SOURCE, rows)


def _pairs(items: Sequence[Any]) -> ImageExamples:
    table = Table(SOURCE, items)
    images: list[np.ndarray] = []
    labels: list[int] = []
    for row, item in enumerate(items):
        if not isinstance(item, Sequence) or len(item) != 2:
            raise table.error(row, f"found {kind(item)}, but a pair (image, label) is expected")
        try:
            images.append(pictures.from_cell(item[0]))
        except pictures.BadPicture as error:
            raise table.error(row, str(error)) from error
        labels.append(_label(table, row, item[1]))
    return image_examples(images, labels, SOURCE)


def _label(table: Table, row: int, value: Any) -> int:
    if pictures.is_tensor(value) or isinstance(value, np.ndarray | np.integer):
        value = value.item() if value.ndim == 0 else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise table.error(row, f"the label is {kind(value)}, but must be an integer")
    if value < 0:
        raise table.error(row, f"label {value}, but labels count from 0")
    return value


def _is_dataset(library: str, value: Any) -> bool:
    """Whether a value is a dataset of ``datasets`` or torch, found out without loading the library."""
    module = sys.modules.get(library)
    if module is None:
        return False
    kinds = module.utils.data.Dataset if library == "torch" else module.Dataset | module.IterableDataset
    return isinstance(value, kinds)
