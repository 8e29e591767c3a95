"""One configuration from a stored run, a YAML file and flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from ofmu.cli.flags import Given
from ofmu.errors import InputError
from ofmu.runs import stored
from ofmu.runs.config import Evaluate, Finetune, Unlearn
from ofmu.runs.directory import RunDirectory

C = TypeVar("C", Unlearn, Finetune, Evaluate)


def configuration(kind: type[C], given: Given) -> C:
    """What is to be done: the file after ``--config`` first, flags over it; with ``--resume`` the run's own.

    Raises:
        InputError: something given cannot be used, or is not what the run to be resumed was started with.
    """
    name = next(name for name, known in stored.COMMANDS.items() if known is kind)
    asked = _asked(name, given)
    built = _resumed(name, given, asked) if given.told.resume else stored.build(name, asked)
    if not isinstance(built, kind):
        raise TypeError(f"{name} is not made of {kind.__name__}")
    return built


def output(given: Given) -> Path:
    """The folder of the run.

    Raises:
        InputError: none was given, or a new run may not be written there.
    """
    if given.told.output is None:
        what = "--resume needs the run: --resume RUN" if given.told.resume else "give --output, a folder for the run"
        raise InputError(what)
    path = Path(given.told.output)
    if not given.told.resume:
        RunDirectory(path).check_new()
    return path


def _asked(name: str, given: Given) -> dict[str, Any]:
    flags = dict(given.values)
    if given.places:
        flags["method"] = {**flags.get("method", {}), "name": given.places[0]}
    if given.told.config is None:
        return flags
    values = stored.read(given.told.config)
    stored.check(name, values, source=given.told.config)
    return stored.merge(values, flags)


def _resumed(name: str, given: Given, asked: dict[str, Any]) -> Any:
    run = RunDirectory(output(given))
    run.check_resumable()
    values = stored.read(run.config)
    before = stored.build(name, values, source=str(run.config))
    wanted = stored.build(name, stored.merge(values, asked))
    changed = stored.differences(before, wanted)
    if changed:
        raise InputError(
            f"--resume goes on with the configuration of {run.path}, but {'; '.join(changed)}; "
            "leave that out, or start a new run"
        )
    return wanted
