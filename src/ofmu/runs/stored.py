"""Configurations as text and back: the one way in for flags, YAML and Python, the one way out to ``config.yaml``.

No torch is imported here until a method's class is asked for.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ofmu import ranges
from ofmu.errors import InputError
from ofmu.runs import typed
from ofmu.runs.config import AUTO, Evaluate, Finetune, Unlearn
from ofmu.version import __version__

if TYPE_CHECKING:
    from ofmu.engine.method import Method

Config = Unlearn | Finetune | Evaluate

COMMANDS: dict[str, type[Config]] = {"unlearn": Unlearn, "finetune": Finetune, "evaluate": Evaluate}
"""Command → what it is made of."""

PLACES = frozenset(
    [
        "model",
        "forget",
        "retain",
        "data",
        "forget_ids",
        "holdout",
        "test",
        "retrained",
        "original",
        "base",
        "tokenizer",
        "abilities",
        "recipe",
        "cache",
        "from_log",
        "original_log",
        "retrained_log",
    ]
)
"""Options that name a file or folder, a name at the hub, or something in memory."""

IN_MEMORY = "in_memory"
"""Key under which a stored configuration says that a model or data were not files."""

_OF_MODELS = PLACES - {"from_log", "original_log", "retrained_log"} | {"generate", "show_examples"}
"""Options that mean nothing where logs are scored."""

DEFAULT_METHOD = "ofmu"

MAY_CHANGE = frozenset(
    ("micro_batch_size", "gradient_checkpointing", "checkpoint_every", "checkpoint_steps", "log_to", "cache")
)
"""Options that a run may go on with changed: they decide how it is computed and kept, not what is computed."""


# Files


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key given twice is a mistake: the last one would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"'{key.value}' is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values of a YAML file.

    Raises:
        InputError: the file is missing, is no YAML (names the line), or holds something other than options.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"configuration {place} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"configuration {place} is not UTF-8 text (byte {error.start})") from error
    try:
        found = yaml.load(text, _UniqueKeys)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{place}{line}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{place}: not valid YAML: {' '.join(str(error).split())}") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InputError(f"{place}: expected options as 'name: value', found {typed.kind_of(found)}")
    return found


def to_yaml(config: Config, hashes: Mapping[str, str] | None = None) -> str:
    """The text of ``config.yaml``; see :func:`plain`."""
    return yaml.safe_dump(plain(config, hashes), sort_keys=False, allow_unicode=True, width=110)


def from_yaml(path: str | os.PathLike[str]) -> Config:
    """The configuration in a file that says its command.

    Raises:
        InputError: it cannot be read or used.
    """
    values = read(path)
    command = values.get("command")
    if command not in COMMANDS:
        raise InputError(f"{path}: 'command' is {command!r}, but must be one of {', '.join(COMMANDS)}")
    return build(command, values, source=str(path))


# Out


def plain(config: Config, hashes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A configuration as JSON and YAML can hold it, complete: presets filled in, existing paths made absolute.

    Args:
        config: what to write down.
        hashes: option → content hash, for models and data that are in memory.
    """
    command = next(name for name, kind in COMMANDS.items() if isinstance(config, kind))
    values: dict[str, Any] = {"command": command, "ofmu": __version__}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "method":
            values["method"] = plain_method(value)
        elif field.name in PLACES:
            values[field.name] = _plain_place(field.name, value, hashes or {})
        else:
            values[field.name] = _plain_value(value)
    return values


def plain_method(method: Method) -> dict[str, Any]:
    """A method's name and all its options."""
    from ofmu import methods

    kind = type(method)
    own = kind.name in methods.names() and methods.find(kind.name) is kind
    name = kind.name if own else f"{kind.__module__}:{kind.__qualname__}"
    return {"name": name, **_plain_value(method.resolved())}


def _plain_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain_value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain_value(part) for part in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def _plain_place(name: str, value: Any, hashes: Mapping[str, str]) -> Any:
    if isinstance(value, tuple):
        return [_plain_place(f"{name}[{k}]", part, hashes) for k, part in enumerate(value)]
    if value is None or (isinstance(value, Mapping) and IN_MEMORY in value):
        return value
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        if name.startswith("abilities[") and "=" in text:
            own, _, place = text.partition("=")
            return f"{own}={_plain_place('', place, hashes)}"
        if name.startswith("retrained") and text == AUTO:
            return AUTO
        return os.path.abspath(text) if name == "cache" or os.path.exists(text) else text
    return {IN_MEMORY: hashes.get(name, type(value).__name__)}


# In


def build(command: str, values: Mapping[str, Any], *, source: str = "") -> Config:
    """A configuration from values by name, checked: the one validation for Python, YAML and flags.

    Args:
        command: ``unlearn``, ``finetune`` or ``evaluate``.
        values: option → value; nested options as mappings; numbers may be text; ``method`` a name, a mapping with
            ``name`` (``ofmu`` if left out), or a method.
        source: where the values are from, for messages, e.g. ``"run.yaml"``.

    Raises:
        InputError: an option is unknown, missing, of the wrong type or out of range; names option and source.
    """
    try:
        return _built(command, values)
    except InputError as error:
        raise InputError(f"{source}: {error}" if source else str(error)) from error


def check(command: str, values: Mapping[str, Any], *, source: str = "") -> None:
    """Check the values that are there, as :func:`build` does, without asking for those that are not.

    Raises:
        InputError: an option is unknown, of the wrong type or out of range.
    """
    required = {field.name: None for field in dataclasses.fields(COMMANDS[command]) if typed.is_required(field)}
    try:
        _typed(command, {**required, **values})
    except InputError as error:
        raise InputError(f"{source}: {error}" if source else str(error)) from error


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values of which those above win; nested options one by one, a method's only if it is the same method."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if key == "method":
            old, value = as_mapping(old), as_mapping(value)
            if isinstance(old, Mapping) and isinstance(value, Mapping):
                name = value.get("name", old.get("name", DEFAULT_METHOD))
                kept = old if name == old.get("name", DEFAULT_METHOD) else {}
                value = {**merge(kept, value), "name": name}
        elif isinstance(old, Mapping) and isinstance(value, Mapping) and IN_MEMORY not in old:
            value = merge(old, value)
        merged[key] = value
    return merged


def differences(stored: Config, asked: Config) -> list[str]:
    """What keeps a stopped run from going on with another configuration, e.g. ``["seed is 1 (stored: 0)"]``."""
    old, new = _leaves(plain(stored)), _leaves(plain(asked))
    return [
        f"{name} is {new.get(name)!r} (stored: {old.get(name)!r})"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name) and name not in MAY_CHANGE and name != "ofmu"
    ]


def check_same(path: str | os.PathLike[str], asked: Config) -> None:
    """A stopped run goes on with its own configuration; what was given in memory is compared by its hash elsewhere.

    Raises:
        InputError: names what differs.
    """
    values = read(path)
    before = _typed(values["command"], values)  # not built: what was in memory need not come back from the file
    changed = [text for text in differences(before, asked) if text.split(" ")[0].split(".")[0] not in PLACES]
    if changed:
        raise InputError(
            f"cannot resume with another configuration: {'; '.join(changed)}; leave that out, or start anew"
        )


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by path, without the mappings between."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.update(_leaves(value, f"{prefix}{name}."))
        else:
            found[prefix + name] = value
    return found


def as_mapping(method: Any) -> Any:
    """A method given by its name alone or left out, as a mapping; anything else as it is."""
    if method is None:
        return {}
    return {"name": method} if isinstance(method, str) else method


def _built(command: str, values: Mapping[str, Any]) -> Config:
    config = _typed(command, values)
    for name in sorted(PLACES & {field.name for field in dataclasses.fields(config)}):
        _refuse_lost(name, getattr(config, name))
    if isinstance(config, Evaluate):
        _check_source(config)
    return config


def _check_source(config: Evaluate) -> None:
    """An evaluation is of models with data, or of logs."""
    if config.from_log is None:
        for name in ("original_log", "retrained_log"):
            if getattr(config, name):
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"{flag} is compared with a log; give --from-log, the log of the unlearned model")
        for name in ("model", "forget", "retain"):
            if getattr(config, name) is None:
                log = " (or --from-log, to score what another tool has logged)" if name == "model" else ""
                raise InputError(f"'{name}' is missing; give --{name}{log}")
        return
    given = [field.name for field in dataclasses.fields(config) if field.name in _OF_MODELS]
    given = [name for name in given if getattr(config, name) not in (None, (), False)]
    if given:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"--from-log scores what a log says, without a model: leave out {flags}")


def _typed(command: str, values: Mapping[str, Any]) -> Config:
    stored = values.get("command", command)
    if stored != command:
        raise InputError(f"this is a configuration of 'ofmu {stored}', not of 'ofmu {command}'")
    given = {key.replace("-", "_"): value for key, value in values.items() if key not in ("command", "ofmu")}
    if "output" in given:
        raise InputError("'output' is not part of a configuration; give --output")
    method = _method(given.pop("method", None)) if command == "unlearn" else None
    config = typed.built(COMMANDS[command], given, "")
    if isinstance(config, Unlearn):
        config = dataclasses.replace(config, method=method)
    ranges.check(config)
    return config


def _method(given: Any) -> Method:
    from ofmu import methods
    from ofmu.engine.method import Method

    if isinstance(given, Method):
        ranges.check(given, "method.")
        return given
    given = as_mapping(given)
    if not isinstance(given, Mapping):
        raise InputError(f"method is {typed.kind_of(given)}, but must be a name, or a name with its options")
    options = dict(given)
    name = options.pop("name", DEFAULT_METHOD)
    if not isinstance(name, str):
        raise InputError(f"method.name is {name!r}, but must be text")
    kind = methods.find(name)
    if not (isinstance(kind, type) and issubclass(kind, Method) and dataclasses.is_dataclass(kind)):
        raise InputError(f"'{name}' is no method: it must be a dataclass on ofmu.engine.method.Method")
    built = typed.built(kind, options, "method.", of=f" of {name}")
    ranges.check(built, "method.")
    return built


def _refuse_lost(name: str, value: Any) -> None:
    """A stored configuration cannot bring back what was only in memory."""
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, Mapping) and IN_MEMORY in part:
            raise InputError(
                f"{name} was in memory when this configuration was stored ({part[IN_MEMORY]}) and cannot be "
                f"read again; give --{name.replace('_', '-')}"
            )
