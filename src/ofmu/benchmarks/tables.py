"""The tables of a benchmark as files: JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ofmu.benchmarks.plain import plain
from ofmu.runs.directory import write_json, write_text


def write(found: Mapping[str, Any], folder: Path) -> list[str]:
    """Write all tables, each model's metrics, and each model's summary under the common framework's name.

    Args:
        found: ``tables``; ``models`` and ``summary`` where there are any.
        folder: made if need be.

    Returns:
        The files' names within the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = ["tables.json", "tables.md"]
    write_json(folder / "tables.json", plain(found["tables"]))
    write_text(folder / "tables.md", markdown(found["tables"]))
    for title, rows in found["tables"].items():
        name = f"{_slug(title)}.csv"
        write_text(folder / name, _csv(rows))
        files.append(name)
    for name, summary in found.get("summary", {}).items():
        place = folder / name
        place.mkdir(exist_ok=True)
        write_json(place / "TOFU_SUMMARY.json", plain(summary))
        write_json(place / "metrics.json", plain(found["models"][name]))
        files += [f"{name}/TOFU_SUMMARY.json", f"{name}/metrics.json"]
    return files


def markdown(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """All tables under their titles, four significant digits."""
    parts = []
    for title, rows in tables.items():
        if not rows:
            continue
        columns = [column for column in rows[0] if any(row.get(column) not in (None, "") for row in rows)]
        lines = [f"## {title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        lines += [f"| {' | '.join(shown(row.get(column)) for column in columns)} |" for row in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def shown(value: Any) -> str:
    """A cell: four significant digits, an interval in brackets, a dash for nothing.

    >>> shown((0.1, 0.23456)), shown(None), shown(True), shown(1e-24)
    ('0.1 to 0.2346', '–', 'yes', '1e-24')
    """
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " to ".join(shown(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)
    return text.getvalue()


def _slug(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def tables_of(found: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """What a benchmark has found as tables: its own, or for each part of it one of names and values.

    >>> tables_of({"ratio": 5.0, "seconds": {"ours": 1.0}})
    {'result': [{'name': 'ratio', 'value': 5.0}], 'seconds': [{'name': 'ours', 'value': 1.0}]}
    """
    if "tables" in found:
        return {title: list(rows) for title, rows in found["tables"].items() if rows}
    parts: dict[str, list[Mapping[str, Any]]] = {"result": []}
    for name, value in found.items():
        if isinstance(value, Mapping):
            parts[name] = [{"name": key, "value": part} for key, part in value.items() if not isinstance(part, Mapping)]
        elif not (isinstance(value, list | tuple) and value and not isinstance(value[0], int | float)):
            parts["result"].append({"name": name, "value": value})
    return {title: rows for title, rows in parts.items() if rows}
