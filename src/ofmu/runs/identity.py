"""Hashes of what a run is given: a stopped run goes on with the same model and data, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from ofmu.errors import InputError
from ofmu.models.loaded import Loaded
from ofmu.runs.directory import RunDirectory, read_json, write_json
from ofmu.runs.inputs import Sets

FILE = "inputs.json"


@dataclass(frozen=True)
class Identity:
    """Hashes by what was given.

    Args:
        hashes: model → fingerprint of its weights; set → fingerprint of its examples as they are scored.
    """

    hashes: dict[str, str]

    @classmethod
    def of(cls, loaded: Loaded, sets: Sets) -> Identity:
        """Of a model and the sets of a run."""
        return cls({"model": loaded.fingerprint, **{name: found.fingerprint for name, found in sets.encoded.items()}})

    def save(self, directory: RunDirectory) -> None:
        """Write the hashes beside the checkpoints, where they are as long as the run is not finished."""
        directory.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(directory.checkpoints / FILE, self.hashes)

    def check(self, directory: RunDirectory) -> None:
        """Compare with what the stopped run was given.

        Raises:
            InputError: names what has changed.
        """
        path = directory.checkpoints / FILE
        if not path.is_file():
            return
        before: dict[str, str] = read_json(path)
        changed = sorted(name for name in {*before, *self.hashes} if before.get(name) != self.hashes.get(name))
        if changed:
            raise InputError(
                f"cannot resume {directory.path}: {', '.join(changed)} changed since the run was stopped; "
                "give the same model and data, or start a new run"
            )
