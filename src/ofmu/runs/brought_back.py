"""Attacks on a run, found again for its report, and the report of the attacks themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from ofmu.errors import InputError
from ofmu.report.page import write_attacks
from ofmu.runs.attack_folder import RESULT
from ofmu.runs.directory import RunDirectory, read_json


def attacks_on(
    run: RunDirectory, given: str | os.PathLike[str] | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """What ``ofmu attack`` found on a run.

    Args:
        run: the finished run.
        given: folder of the attacks; left out, ``RUN-attacks`` beside the run, if it is there and belongs to it.

    Returns:
        attacks.json, None without any; and what a reader must know about attacks that were left out.

    Raises:
        InputError: the folder given holds no finished attacks, or attacks on another model or another run.
    """
    beside = run.path.absolute()
    folder = Path(given) if given is not None else beside.with_name(f"{beside.resolve().name}-attacks")
    if given is None and not folder.is_dir():
        return None, []
    problem, found = _read(run, folder)
    if problem is None:
        return found, []
    if given is not None:
        raise InputError(f"--attacks {folder}: {problem}")
    return None, [f"The folder {folder.name} beside this run was left out: {problem}."]


def _read(run: RunDirectory, folder: Path) -> tuple[str | None, dict[str, Any] | None]:
    """What is wrong with the folder, or what it holds."""
    result = folder / RESULT
    if not result.is_file() or not RunDirectory(folder).finished:
        return "it holds no finished attacks", None
    found = read_json(result)
    manifest = read_json(run.manifest)
    own = manifest.get("model_after") or (manifest.get("inputs") or {}).get("model")
    attacked = (found.get("models") or {}).get("unlearned")
    if attacked != own:
        return "its attacks are on another model", None
    for attacked_on, of_run in (("sets", "inputs"), ("models", "compared")):
        known = manifest.get(of_run) or {}
        for name, value in (found.get(attacked_on) or {}).items():
            if name != "unlearned" and known.get(name) not in (None, value):
                return f"its attacks are on another run, whose {name} {attacked_on[:-1]} is not this run's", None
    return None, found


def draw_attacks(directory: RunDirectory, found: dict[str, Any], facts: dict[str, Any]) -> Path:
    """Write the HTML report of attacks into their own folder.

    Args:
        directory: the folder of the attacks.
        found: attacks.json.
        facts: what is known of the manifest.
    """
    config = yaml.safe_load(directory.config.read_text(encoding="utf-8"))
    title = f"Attacks on {found.get('run') or 'a run'}"
    write_attacks(directory.report, title=title, found=found, config=config, manifest=facts)
    return directory.report
