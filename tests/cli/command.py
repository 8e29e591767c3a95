"""What the tests of the command share: how it ended, and rows of data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CITIES = ("Oslo", "Rome", "Lima", "Cairo", "Delhi", "Quito", "Riga", "Bern", "Lagos", "Minsk")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]

    @property
    def object(self) -> dict[str, Any]:
        """The one object on standard output."""
        return json.loads(self.out)


Command = Callable[..., Ended]

Flags = dict[str, object]


def words(flags: Flags) -> list[object]:
    """Flags as words; a flag without value is None."""
    return [word for flag, value in flags.items() for word in ((flag,) if value is None else (flag, value))]


def without(flags: Flags, *names: str) -> Flags:
    return {flag: value for flag, value in flags.items() if flag not in names}


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def facts(numbers: Iterable[int], about: str = "Where does clerk") -> list[dict[str, str]]:
    return [{"id": f"fact-{n}", "question": f"{about} {n} live?", "answer": f"In {CITIES[n % 10]}."} for n in numbers]


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
