"""What a run hands back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Result:
    """A finished run.

    Args:
        path: its folder.
        model: the model after the run, as it came in; None for an evaluation.
        metrics: metrics.json; empty for a fine-tuning.
        history: lines of history.jsonl.
        manifest: manifest.json.
        report: the HTML report; None if there is none.
        notes: warnings, a line each.
    """

    path: Path
    model: Any
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    manifest: dict[str, Any]
    report: Path | None
    notes: tuple[str, ...] = ()
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    def keep(self, folder: tempfile.TemporaryDirectory[str]) -> None:
        """Tie a temporary folder to this object: it goes when the object goes."""
        self._folder = folder

    def score(self, name: str, role: str = "unlearned") -> float | None:
        """The value of a score, None if it could not be computed.

        Raises:
            KeyError: there is no such score for that role.
        """
        for found in self.metrics["scores"]:
            if found["name"] == name and found["role"] == role:
                return found["value"]
        raise KeyError(f"no score {name} of the {role} model")
