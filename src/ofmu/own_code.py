"""Classes of one's own, by their place ``my_module:MyClass``; what fails in them is told in a line."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

from ofmu.errors import InputError


def load(what: str, place: str) -> Any:
    """What lies at a place; the module may lie in the present folder.

    Args:
        what: the kind of thing, for messages.
        place: ``my_module:MyClass``.

    Raises:
        InputError: there is nothing there, or the module fails when it is imported; with file and line.
    """
    module, _, attribute = place.partition(":")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does; the installed script does not
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # code of one's own may raise anything
        raise InputError(f"{what} '{place}' cannot be loaded: {in_a_line(error)}") from error


def in_a_line(error: Exception) -> str:
    """What an exception in code of one's own says, with its kind, file and line where they tell more."""
    said = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    if isinstance(error, SyntaxError):
        where: tuple[str | None, int | None] = error.filename, error.lineno
    else:
        where = _where(error)
    kind = "" if isinstance(error, (ImportError, AttributeError)) else f"{type(error).__name__}: "
    file, line = where
    return f"{kind}{said}" if file is None else f"{kind}{said} ({file}, line {line})"


def _where(error: Exception) -> tuple[str | None, int | None]:
    """The innermost place outside this package and the machinery of imports."""
    own = os.path.dirname(__file__)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((own, "<", importlib.__file__)):
            return frame.filename, frame.lineno
    return None, None
