"""What a stranger needs to check a run: a hash of every file, versions, hardware, cost, and how it ended."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ofmu.errors import InputError
from ofmu.runs.directory import MANIFEST, RunDirectory, read_json, write_json
from ofmu.version import __version__

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "safetensors", "datasets", "numpy", "scipy")
BLOCK = 1 << 20


def sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """Relative path → sha256 of every file of a run but the manifest itself and checkpoints, which are removed."""
    left_out = {folder / MANIFEST, *(folder / "checkpoints").rglob("*")}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path not in left_out)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def environment(device: str) -> dict[str, Any]:
    """Versions and hardware, without anything that names the machine or its user."""
    return {
        "ofmu": __version__,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": device,
    }


def peak_memory_mb() -> float:
    """Peak resident memory of this process, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def write(run: RunDirectory, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest, which makes the run finished.

    Args:
        run: the folder, everything else already in it.
        facts: what the run knows of itself: inputs' hashes, cost, how it ended.

    Returns:
        The manifest.
    """
    manifest = {**facts, "files": file_hashes(run.path)}
    write_json(run.manifest, manifest)
    return manifest


def verify(path: str | os.PathLike[str]) -> list[str]:
    """Check every hash of a finished run.

    Args:
        path: the run's folder.

    Returns:
        What is wrong, a line each; empty if all is as it was written.

    Raises:
        InputError: the folder holds no finished run, or its manifest lists no hashes.
    """
    run = RunDirectory(path)
    if not run.path.is_dir():
        raise InputError(f"{run.path} is not a folder")
    if not run.finished:
        state = "was stopped before its end" if run.config.is_file() else "is not a run of ofmu"
        raise InputError(f"{run.path} {state}: it has no {MANIFEST}")
    stated = _stated(run)
    found = file_hashes(run.path)
    problems = [f"{name}: missing" for name in stated if name not in found]
    problems += [f"{name}: changed" for name, value in found.items() if stated.get(name, value) != value]
    problems += [f"{name}: not in the manifest" for name in found if name not in stated]
    if run.checkpoints.exists():
        problems.append("checkpoints: left over from the run, and still know the data; delete them")
    return sorted(problems)


def _stated(run: RunDirectory) -> dict[str, str]:
    """The hashes that the manifest lists."""
    found = read_json(run.manifest)
    stated = found.get("files") if isinstance(found, dict) else None
    if not isinstance(stated, dict) or not stated or not all(isinstance(value, str) for value in stated.values()):
        raise InputError(f"{run.manifest} lists no hashes of files (no 'files'); it is not a manifest of ofmu")
    return stated
