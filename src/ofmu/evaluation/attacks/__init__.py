"""Attacks by name: the package's own, one a file, and those that other packages offer."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from ofmu import own_code
from ofmu.errors import InputError, unknown
from ofmu.evaluation.attack import ModelAttack

OWN = {
    "relearning": "Relearning",
    "quantisation": "Quantisation",
    "prompts": "Prompts",
    "logit_lens": "LogitLens",
    "probe": "Probe",
    "sampling": "DrawnAnswers",
}
"""File name = name → class."""


def names() -> list[str]:
    """All attacks there are, the package's own first."""
    return [*OWN, *sorted(point.name for point in entry_points(group="ofmu.attacks"))]


def find(name: str) -> type[ModelAttack]:
    """The class of an attack.

    Args:
        name: a name from :func:`names`, or ``my_module:MyAttack``.

    Raises:
        InputError: there is no such attack (names the nearest), or it is none.
    """
    kind: Any = _find(name)
    if not (isinstance(kind, type) and issubclass(kind, ModelAttack) and dataclasses.is_dataclass(kind)):
        raise InputError(f"'{name}' is no attack: it must be a dataclass on ofmu.evaluation.attack.ModelAttack")
    return kind


def _find(name: str) -> Any:
    if name in OWN:
        return getattr(importlib.import_module(f"ofmu.evaluation.attacks.{name}"), OWN[name])
    for point in entry_points(group="ofmu.attacks"):
        if point.name == name:
            return point.load()
    if ":" not in name:
        raise unknown("attack", name, names())
    return own_code.load("attack", name)


def name_of(attack: ModelAttack) -> str:
    """What :func:`find` finds the attack by."""
    kind = type(attack)
    for name in OWN:
        if OWN[name] == kind.__name__ and kind.__module__ == f"{__name__}.{name}":
            return name
    for point in entry_points(group="ofmu.attacks"):
        if point.value == f"{kind.__module__}:{kind.__qualname__}":
            return point.name
    return f"{kind.__module__}:{kind.__qualname__}"


def options(attack: ModelAttack) -> Mapping[str, Any]:
    """An attack's options, as JSON and YAML can hold them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(attack).items()}
