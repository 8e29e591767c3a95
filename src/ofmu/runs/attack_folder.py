"""The folder of attacks: one file for each attack on each model, so that what is there is not done again.

``config.yaml`` says what is attacked and how, ``measured/`` holds what each attacked model did, ``records/`` its
per-token facts, ``attacks.json`` the comparison, ``manifest.json`` the hashes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ofmu.errors import InputError
from ofmu.evaluation.attack import Attacked
from ofmu.evaluation.record import Record
from ofmu.runs import stored
from ofmu.runs.directory import RunDirectory, read_json, write_json, write_text
from ofmu.version import __version__

RESULT = "attacks.json"


class AttackFolder:
    """Where attacks on one run are kept.

    Args:
        path: the folder.
        run: the run that is attacked.
    """

    def __init__(self, path: Path, run: Path):
        self.directory = RunDirectory(path)
        self.path, self.result = path, path / RESULT
        self._run = run.resolve()

    def check(self) -> dict[str, Any]:
        """What was asked for here before: attack → options; empty for a new folder. Nothing is written.

        Raises:
            InputError: the folder holds something else, or attacks on another run.
        """
        if self.path.resolve() == self._run:
            raise InputError(f"output {self.path} is the run itself, which is never changed; give another folder")
        if not self.directory.config.is_file():
            self.directory.check_new(resumable=False)
            return {}
        before = stored.read(self.directory.config)
        if before.get("command") != "attack":
            raise InputError(f"output {self.path} holds a run; give a folder that is empty or new")
        if Path(str(before.get("run"))) != self._run:
            raise InputError(
                f"output {self.path} holds attacks on another run ({before.get('run')}); give another folder"
            )
        return before.get("attacks") or {}

    def begin(self, attacks: Mapping[str, Mapping[str, Any]], seeds: tuple[int, ...]) -> None:
        """Write down what is asked for; from here on the folder is unfinished."""
        self.directory.create()
        self.directory.manifest.unlink(missing_ok=True)
        asked = {name: dict(options) for name, options in attacks.items()}
        config = {
            "command": "attack",
            "ofmu": __version__,
            "run": str(self._run),
            "seeds": list(seeds),
            "attacks": asked,
        }
        write_text(self.directory.config, yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110))

    def read(self, attack: str, role: str, key: str) -> Attacked | None:
        """What an attacked model did, if that is there and was asked for in the same way."""
        file = self._file(attack, role)
        if not file.is_file():
            return None
        found = read_json(file)
        if found["key"] != key:
            return None
        records = {
            variant: {name: Record.from_parquet(self._record(attack, variant, role, name)) for name in sets}
            for variant, sets in found["records"].items()
        }
        return Attacked(found["facts"], records)

    def write(self, attack: str, role: str, key: str, attacked: Attacked) -> Attacked:
        """Keep it; the file that says so comes last. Returns it as it will be read again."""
        for variant, sets in attacked.records.items():
            for name, record in sets.items():
                file = self._record(attack, variant, role, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                record.to_parquet(file)
        file = self._file(attack, role)
        file.parent.mkdir(parents=True, exist_ok=True)
        facts = as_json(attacked.facts)
        records = {variant: list(sets) for variant, sets in attacked.records.items()}
        write_json(file, {"key": key, "facts": facts, "records": records})
        return Attacked(facts, attacked.records)

    def _file(self, attack: str, role: str) -> Path:
        return self.path / "measured" / f"{_word(attack)}.{role}.json"

    def _record(self, attack: str, variant: str, role: str, name: str) -> Path:
        return self.path / "records" / _word(attack) / _word(variant) / f"{role}.{name}.parquet"


def key_of(**parts: Any) -> str:
    """Hash of everything that decides a result: other options, model or data give another key."""
    text = json.dumps(as_json(parts) | {"ofmu": __version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def as_json(value: Any) -> Any:
    """Numbers that JSON has no word for as null, tuples as lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    return value


def _word(name: str) -> str:
    """A name that a file may have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)
