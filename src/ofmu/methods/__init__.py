"""Methods by name: the package's own, one a file, and those that other packages offer."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from ofmu import own_code
from ofmu.engine.method import Method
from ofmu.errors import InputError as InputError
from ofmu.errors import unknown

OWN = {
    "ofmu": "OFMU",
    "grad_ascent": "GradAscent",
    "grad_diff": "GradDiff",
    "npo": "NPO",
    "simnpo": "SimNPO",
}
"""File name = name → class."""


def names() -> list[str]:
    """All methods there are, the package's own first."""
    return [*OWN, *sorted(point.name for point in entry_points(group="ofmu.methods"))]


def find(name: str) -> type[Method]:
    """The class of a method.

    Args:
        name: a name from :func:`names`, or ``my_module:MyMethod``.

    Raises:
        InputError: there is no such method; names the nearest.
    """
    if name in OWN:
        return getattr(importlib.import_module(f"ofmu.methods.{name}"), OWN[name])
    for point in entry_points(group="ofmu.methods"):
        if point.name == name:
            return point.load()
    if ":" in name:
        return own_code.load("method", name)
    raise unknown("method", name, names())
