"""Containers: .jsonl, .json, .csv, .parquet, .arrow, each also .gz; folders of ``save_to_disk``."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

from ofmu.data.arrow import arrow_bytes, parquet_bytes, saved_dataset
from ofmu.data.tables import Table, kind
from ofmu.errors import InputError

TEXT_SUFFIXES = (".jsonl", ".json", ".csv")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", ".arrow")
_TURNS = {"prompt", "completion"}  # text, or a list of messages
_LISTS = {"choices", "messages", "perturbed_answer", *_TURNS}
_CELL_LIMIT = 1 << 30  # a cell of a CSV file may be a whole document; the library's own limit is 128 KiB


def suffix_of(path: Path) -> str:
    """The suffix that says what a file is, without ``.gz``: ``forget.jsonl.gz`` is ``.jsonl``."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def read_file(path: Path) -> Table:
    """The rows of a table file.

    Raises:
        InputError: if the file cannot be read or is not what its name says; names the file, and the line
            where there is one.
    """
    raw = read_bytes(path)
    match suffix_of(path):
        case ".jsonl":
            return _json_lines(decode(raw, path), str(path))
        case ".json":
            return _json(decode(raw, path), str(path))
        case ".csv":
            return _csv(decode(raw, path), str(path))
        case ".parquet":
            return parquet_bytes(raw, str(path))
        case ".arrow":
            return arrow_bytes(raw, str(path))
        case other:
            known = ", ".join(SUFFIXES)
            raise InputError(f"{path}: unknown kind of file '{other}'; known are {known} (each also .gz) and .npz")


def read_folder(path: Path) -> Table | None:
    """The rows of a folder written by ``datasets.save_to_disk``; None if it is no such folder."""
    if (path / "dataset_dict.json").is_file():
        splits = sorted(state.parent.name for state in path.glob("*/state.json"))
        if not splits:
            raise InputError(f"{path}: a folder of datasets.save_to_disk without a split in it")
        chosen = only_split(splits)
        if chosen is None:
            raise InputError(f"{path} holds the splits {', '.join(splits)}: name one, e.g. {path / splits[0]}")
        return saved_dataset(path / chosen)
    return saved_dataset(path) if (path / "state.json").is_file() else None


def only_split(splits: list[str]) -> str | None:
    """The split that is meant when none is named: ``train``, or the only one; None if that is open."""
    return "train" if "train" in splits else splits[0] if len(splits) == 1 else None


def read_bytes(path: Path) -> bytes:
    """A file's bytes, unpacked if its name ends in ``.gz``."""
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path) as packed:
                return packed.read()
        return path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"cannot unpack {path}: not a whole gzip file ({error})") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def decode(raw: bytes, path: Path) -> str:
    """UTF-8 text, a byte order mark taken off."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text") from error


def _json_lines(text: str, source: str) -> Table:
    rows: list[Any] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(_as_row(json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise InputError(f"{source}:{number}: not a JSON object ({_reason(error)})") from error
            lines.append(number)
    return Table(source, rows, lambda row: f"line {lines[row]}")


def _json(text: str, source: str) -> Table:
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise InputError(f"{source}: not JSON ({_reason(error)})") from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.lineno > 1:  # JSON lines under the name .json are common
            return _json_lines(text, source)
        raise InputError(f"{source}:{error.lineno}: not JSON ({_reason(error)})") from error
    if isinstance(value, dict) and "\n" not in text.strip():  # JSON lines of one line
        value = [value]
    if not isinstance(value, list):
        raise InputError(f"{source}: found {kind(value)}, but a list of objects is expected")
    rows: list[Any] = []
    for number, row in enumerate(value):
        try:
            rows.append(_as_row(row))
        except ValueError as error:
            raise InputError(f"{source}, row {number}: not an object ({error})") from error
    return Table(source, rows)


def _csv(text: str, source: str) -> Table:
    csv.field_size_limit(_CELL_LIMIT)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise InputError(f"{source}:1: the header names the column '{twice}' twice")
        start = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(header):
                raise InputError(f"{source}:{start}: {len(cells)} cells, but the header names {len(header)} columns")
            if cells:
                rows.append({name: _cell(name, cell) for name, cell in zip(header, cells, strict=True)})
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{source}:{reader.line_num}: not CSV ({error})") from error
    return Table(source, rows, lambda row: f"line {lines[row]}")


def _cell(column: str, cell: str) -> Any:
    """A list in a cell of a column that may hold one is written as JSON; everything else is text."""
    if column in _LISTS and cell.startswith("[") and cell.endswith("]"):
        try:
            value = json.loads(cell)
        except (ValueError, RecursionError):
            return cell
        if column not in _TURNS or (value and all(isinstance(turn, dict) and "role" in turn for turn in value)):
            return value
    return cell


def _as_row(value: Any) -> dict[str, Any]:
    if isinstance(value, str):  # a list of plain strings is a list of texts, as in MUSE's repository
        return {"text": value}
    if not isinstance(value, dict):
        raise ValueError(f"found {kind(value)}")
    return value


def _reason(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"{error.msg} at column {error.colno}"
        case RecursionError():
            return "nested too deep"
    return str(error)
