"""Methods by name: the package's own, one a file, and those that other packages offer."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import entry_points

from ofmu.engine.method import Method
from ofmu.errors import InputError, unknown

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
    module, colon, attribute = name.partition(":")
    if colon:
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # as `python -m` does; the installed script does not
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(f"method '{name}' cannot be loaded: {error}") from error
    raise unknown("method", name, names())
