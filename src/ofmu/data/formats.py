"""One door for all data: whatever holds it, the columns say what it is, and an explicit format wins."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from ofmu.data import containers, hub
from ofmu.data.clusters import NONE
from ofmu.data.examples import ImageExamples, TextExamples
from ofmu.data.image_sources import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    images_of_folder,
    images_of_npz,
    images_of_table,
)
from ofmu.data.memory import rows_in_memory
from ofmu.data.tables import Table, nearest
from ofmu.data.text_columns import TEXT_FORMATS, read_texts
from ofmu.errors import InputError, unknown

FORMATS = (*TEXT_FORMATS, "images")
_WITHOUT_IMAGES = ("question", "prompt", "messages", "text")


def read(
    source: str | Path | Any,
    *,
    name: str = "forget",
    format: str | None = None,
    cluster_by: str | None = None,
) -> TextExamples | ImageExamples:
    """Read a set of examples from any container.

    Args:
        source: a file (.jsonl, .json, .csv, .parquet, .arrow, each also .gz; .npz), a folder (of
            ``datasets.save_to_disk``, or one folder per class with images in it), a hub name
            ``org/name[:config][:split]``, or data in memory (see :func:`ofmu.data.memory.rows_in_memory`).
            Examples that have been read already are given back.
        name: what the set is called in messages: forget, retain, holdout …
        format: one of :data:`FORMATS`; None: told by the columns, in the order of :data:`FORMATS`.
        cluster_by: the column that says which examples belong together; ``none``: each is its own.

    Returns:
        Texts or images, at least one.

    Raises:
        InputError: for everything that cannot be used, in one line: file, line or row, what was found, what
            is expected and the nearest right name.
    """
    if format is not None and format not in FORMATS:
        raise unknown("format", format, FORMATS)
    try:
        examples = _read(source, format, cluster_by)
    except InputError as error:
        raise InputError(f"{name} set: {error}") from error
    if not len(examples):
        raise InputError(f"{name} set: {examples.source} holds no examples")
    return examples


def _read(source: Any, format: str | None, cluster_by: str | None) -> TextExamples | ImageExamples:
    if isinstance(source, TextExamples | ImageExamples):
        return source
    folder: Path | None = None
    if isinstance(source, str | Path):
        found = _read_path(source)
        folder = Path(source).parent
    else:
        found = rows_in_memory(source)
    if isinstance(found, Table):
        if not found.rows:
            raise InputError(f"{found.source} holds no examples")
        chosen = told_by_columns(found, format)
        if chosen == "images":
            return images_of_table(found, folder=folder, cluster_by=cluster_by)
        return read_texts(found, chosen, cluster_by=cluster_by)
    if format not in (None, "images"):
        raise InputError(f"{found.source} holds images, not the format '{format}'")
    if cluster_by not in (None, NONE):
        raise InputError(f"{found.source} has no columns, so nothing to cluster by '{cluster_by}'")
    return found


def _read_path(source: str | Path) -> Table | ImageExamples:
    path = Path(source)
    if path.is_dir():
        saved = containers.read_folder(path)
        return images_of_folder(path) if saved is None else saved
    suffix = containers.suffix_of(path)
    if path.exists():
        return images_of_npz(path) if suffix == ".npz" else containers.read_file(path)
    if isinstance(source, str) and hub.is_hub_name(source) and suffix not in (*containers.SUFFIXES, ".npz"):
        return hub.read_hub(source)
    near = _misspelt(path)
    raise InputError(f"no file or folder {path}{f' (did you mean {path.parent / near}?)' if near else ''}")


def _misspelt(path: Path) -> str | None:
    """The name beside a missing one that may have been meant: nearly the same but for its suffixes."""
    beside = sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(_stem(path.name), map(_stem, beside), n=1, cutoff=0.8)
    same = [name for name in beside if [_stem(name)] == near]
    return max(same, key=lambda name: difflib.SequenceMatcher(None, name, path.name).ratio(), default=None)


def _stem(name: str) -> str:
    return name.partition(".")[0]


def told_by_columns(table: Table, format: str | None = None) -> str:
    """The format that a table's columns tell, or that was asked for if they allow it.

    Raises:
        InputError: with the columns found and those expected, and the nearest name.
    """
    columns = set(table.columns)
    layouts = {name: set(needed) for name, (needed, _) in TEXT_FORMATS.items()}
    images = columns & set(IMAGE_COLUMNS) and columns & set(LABEL_COLUMNS)
    if format is None:
        fits = [name for name, needed in layouts.items() if needed <= columns]
        if images and not columns & set(_WITHOUT_IMAGES):
            return "images"
        if fits:
            return fits[0]
        if images:
            return "images"
    elif (format == "images" and columns & set(IMAGE_COLUMNS)) or layouts.get(format, {""}) <= columns:
        return format
    expected = [format] if format else list(FORMATS)
    raise InputError(f"{table.source}: {_wrong_columns(table.columns, expected)}")


def _wrong_columns(found: tuple[str, ...], formats: list[str]) -> str:
    """What was found, what is expected, and the layout of which the least is missing."""
    needed = {name: TEXT_FORMATS[name][0] if name != "images" else ("image", "label") for name in formats}
    lacking = {name: [column for column in columns if column not in found] for name, columns in needed.items()}
    hint = next((text for columns in lacking.values() if (text := nearest(columns, found))), "")
    layouts = " | ".join(", ".join(columns) for columns in needed.values())
    return f"found the columns {', '.join(found) or 'none'}; expected {layouts}{hint}"
