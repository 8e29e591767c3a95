"""What a run hands back."""

from __future__ import annotations

import shutil
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(eq=False)
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

    def remove_with_me(self) -> None:
        """The folder is a temporary one: it goes when this object goes, or with the interpreter."""
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def score(self, name: str, role: str = "unlearned") -> float | None:
        """The value of a score, None if it could not be computed.

        Raises:
            KeyError: there is no such score for that role.
        """
        for found in self.metrics["scores"]:
            if found["name"] == name and found["role"] == role:
                return found["value"]
        raise KeyError(f"no score {name} of the {role} model")
