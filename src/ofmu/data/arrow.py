"""Tables of Apache Arrow: parquet, arrow files, folders of ``datasets.save_to_disk``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofmu.data.tables import Table
from ofmu.errors import InputError

if TYPE_CHECKING:  # pyarrow takes a moment to load; it does so when a file needs it
    import pyarrow


def parquet_bytes(raw: bytes, source: str) -> Table:
    """The rows of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return table_of(pq.ParquetFile(pa.BufferReader(raw)).read(), source)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{source}: not a parquet file ({first_line(error)})") from error


def arrow_bytes(raw: bytes, source: str) -> Table:
    """The rows of an arrow file, in the file format or the stream format."""
    import pyarrow as pa

    try:
        opened = pa.ipc.open_file if raw.startswith(b"ARROW1") else pa.ipc.open_stream
        return table_of(opened(pa.BufferReader(raw)).read_all(), source)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{source}: not an arrow file ({first_line(error)})") from error


def saved_dataset(folder: Path) -> Table:
    """The rows of one split that ``datasets.save_to_disk`` wrote; read directly, so nothing is cached."""
    import pyarrow as pa

    try:
        files = [entry["filename"] for entry in json.loads((folder / "state.json").read_bytes())["_data_files"]]
        parts = [pa.ipc.open_stream((folder / name).read_bytes()).read_all() for name in files]
        return table_of(pa.concat_tables(parts), str(folder))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{folder}: not a whole folder of datasets.save_to_disk ({first_line(error)})") from error


def table_of(table: pyarrow.Table, source: str, features: dict[str, Any] | None = None) -> Table:
    """An arrow table as rows.

    Args:
        table: the arrow table; images stay structs of bytes and path.
        source: its name for messages.
        features: Hugging Face's description of the columns; None takes the one in the table's metadata, if
            any.
    """
    if features is None:
        stored = (table.schema.metadata or {}).get(b"huggingface")
        features = json.loads(stored).get("info", {}).get("features") if stored else None
    names = {
        column: tuple(feature["names"])
        for column, feature in (features or {}).items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
    return Table(source, table.to_pylist(), class_names=names)


def first_line(error: BaseException) -> str:
    """An error of a library in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
