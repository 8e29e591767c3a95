"""The history of a run: a line of JSON a step."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any


class History:
    """Appends lines and, on resume, drops those after the checkpoint.

    Args:
        path: `history.jsonl`.
    """

    def __init__(self, path: Path):
        self.path = path

    def append(self, line: dict[str, Any]) -> None:
        """Write one line; what is not a finite number becomes null."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(line), ensure_ascii=False) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; a last one that was cut by a kill is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def cut_after(self, step: int) -> None:
        """Keep the steps up to this one: what follows, the last look at the end included, will come again."""
        kept = [line for line in self.read() if line["step"] <= step and "final" not in line]
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
