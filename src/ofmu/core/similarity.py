"""The similarities by the names that users type; each is in ``measures.py``, one's own in any file."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points
from typing import Any, Literal

from ofmu.core.blocks import Blocks, Weights
from ofmu.core.measures import (
    Angle,
    Cosine,
    Euclid,
    Hinge,
    InnerProduct,
    Projection,
    ProjectionEnergy,
    RetainProjection,
    SoftHinge,
    SquaredCosine,
    SquaredHinge,
    SquaredInnerProduct,
)
from ofmu.core.slope import Measure, Similarity, Slope
from ofmu.errors import InputError, unknown
from ofmu.own_code import in_a_line

__all__ = ["GROUP", "SIMILARITIES", "Measure", "Similarity", "Slope", "find", "make", "names"]

GROUP = "ofmu.similarities"
"""Entry points by which packages offer theirs."""

SIMILARITIES: dict[str, type[Similarity]] = {
    "cosine": Cosine,
    "squared_cosine": SquaredCosine,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "soft_hinge": SoftHinge,
    "euclid": Euclid,
    "angle": Angle,
    "projection": Projection,
    "projection_energy": ProjectionEnergy,
    "retain_projection": RetainProjection,
    "inner_product": InnerProduct,
    "squared_inner_product": SquaredInnerProduct,
}
"""name that users type → class."""


def names() -> list[str]:
    """All similarities there are, the package's own first."""
    return [*SIMILARITIES, *sorted(point.name for point in entry_points(group=GROUP))]


def find(name: str) -> type[Similarity]:
    """The class of a similarity.

    Args:
        name: a name from :func:`names`, or ``my_module:MySimilarity``; the module may lie in the present folder.

    Raises:
        InputError: there is nothing of that name, its module fails, or it is no similarity.
    """
    if name in SIMILARITIES:
        return SIMILARITIES[name]
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _checked(name, _loaded(name, point.load))
    module, colon, attribute = name.partition(":")
    if not colon:
        raise unknown("similarity", name, names())
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does; the installed script does not
    return _checked(name, _loaded(name, lambda: getattr(importlib.import_module(module), attribute)))


def make(
    name: str,
    *,
    blocks: Literal["whole", "layer", "tensor"] = "whole",
    weights: Weights = "size",
    **options: Any,
) -> Similarity:
    """The similarity of that name.

    Args:
        name: as in :func:`find`.
        blocks: over the whole vector, or per block (:class:`~ofmu.core.blocks.Blocks`).
        weights: of the blocks.
        options: of the class, such as ``margin``; what a similarity does not know is left out, so that one setting may
            serve several.

    Returns:
        A new similarity.

    Raises:
        InputError: as :func:`find`; an option is out of range, or one's own class fails when it is made.

    >>> make("squared_hinge", margin=0.3), make("cosine", margin=0.3).__class__.__name__
    (SquaredHinge(margin=0.3), 'Cosine')
    """
    kind = find(name)
    known = {f.name for f in fields(kind)} if is_dataclass(kind) else set()
    try:
        made = kind(**{key: value for key, value in options.items() if key in known})
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"similarity '{name}' cannot be made: {in_a_line(error)}") from error
    return made if blocks == "whole" else Blocks(made, blocks, weights)


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # a module of one's own may raise anything
        raise InputError(f"similarity '{name}' cannot be loaded: {in_a_line(error)}") from error


def _checked(name: str, kind: Any) -> type[Similarity]:
    if not (isinstance(kind, type) and issubclass(kind, Similarity)) or inspect.isabstract(kind):
        raise InputError(
            f"'{name}' is no similarity: it must be a class on ofmu.core.Measure that gives phi and slopes"
        )
    return kind
