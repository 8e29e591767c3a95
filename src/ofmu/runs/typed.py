"""A dataclass of options from values by name: the one check of types, for Python, YAML and flags."""

from __future__ import annotations

import dataclasses
import difflib
import os
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from ofmu import ranges
from ofmu.errors import InputError, unknown

T = TypeVar("T")


def checked(kind: type[T], values: Mapping[str, Any]) -> T:
    """An instance of a dataclass of options from values by name, checked as a configuration is.

    Raises:
        InputError: an option is unknown, missing, of the wrong type or out of range.
    """
    made = built(kind, values, "")
    ranges.check(made)
    return made


def built(kind: type, given: Mapping[str, Any], prefix: str, *, of: str = "") -> Any:
    """An instance from values by field name; unknown, missing and ill-typed ones are named."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in given:
        if key not in fields:
            raise unknown(f"option{of}", prefix + key, [prefix + name for name in fields])
    for name, field in fields.items():
        if name not in given and is_required(field):
            raise InputError(f"'{prefix}{name}' is missing; give --{(prefix + name).replace('_', '-')}")
    typed = {}
    for key, value in given.items():
        field = fields[key]
        if value is None and not is_required(field):
            continue  # null is the same as left out
        typed[key] = _typed_value(hints[key], value, prefix + key)
    return kind(**typed)


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Whether an option has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _typed_value(hint: Any, value: Any, name: str) -> Any:
    """The value as the type that the option declares."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        hints = [part for part in inner if part is not type(None)]
        if float in hints and isinstance(value, int | float):
            hints = [float]  # str | float takes either
        return None if value is None else _typed_value(hints[0], value, name)
    if origin is typing.Annotated:
        return _typed_value(inner[0], value, name)
    if origin is Literal:
        if value in inner:
            return value
        raise InputError(f"{name} is {value!r}, but must be one of {', '.join(inner)}{_nearest(value, inner)}")
    if origin is tuple:
        parts = value if isinstance(value, list | tuple) else [value]
        return tuple(_typed_value(inner[0], part, f"{name}[{k}]") for k, part in enumerate(parts))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return built(hint, value, f"{name}.")
        raise InputError(f"{name} is {value!r}, but must hold options: {_names(hint)}")
    return value if hint is Any else _scalar(hint, value, name)


def _scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is str and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if hint is bool and isinstance(value, bool):
        return value
    if hint in (int, float) and not isinstance(value, bool):
        try:
            number = float(value)  # YAML reads 1e-3, without a point, as text
        except (TypeError, ValueError):
            number = None
        if number is not None and hint is float:
            return number
        if number is not None and number.is_integer():
            return int(value) if isinstance(value, int) else int(number)
    words = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
    raise InputError(f"{name} is {value!r}, but must be {words.get(hint, hint)}")


def _names(kind: type) -> str:
    return ", ".join(field.name for field in dataclasses.fields(kind))


def _nearest(given: Any, allowed: Iterable[str]) -> str:
    found = difflib.get_close_matches(str(given), allowed, n=1, cutoff=0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    return {"list": "a list", "str": "text", "dict": "keys that are no text"}.get(
        type(value).__name__, f"{type(value).__name__} {value!r}"
    )
