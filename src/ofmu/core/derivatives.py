"""The ways to differentiate, by the names that users type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from ofmu.core.backend import Derivatives
from ofmu.core.exact import Exact
from ofmu.core.finite_difference import FiniteDifference
from ofmu.core.gauss_newton import GaussNewton
from ofmu.errors import unknown

__all__ = ["NAMES", "Derivatives", "Exact", "FiniteDifference", "GaussNewton", "make"]

NAMES: Final = ("exact", "finite_difference", "central", "secant", "gauss_newton")
"""What users type; ``central`` are central finite differences, ``secant`` forward ones whose penalty follows (22)."""


def make(
    name: str, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None, **options: Any
) -> Derivatives:
    """The back-end of that name.

    Args:
        name: one of :data:`NAMES`.
        parameters: name → leaf tensor.
        buffers: name → tensor put back after every evaluation.
        options: ``noise`` and ``before_edit`` of :class:`~ofmu.core.finite_difference.FiniteDifference` and
            :class:`~ofmu.core.gauss_newton.GaussNewton`; exact derivatives take no notice.

    Returns:
        A back-end with nothing remembered yet.

    Raises:
        InputError: no back-end has that name.
    """
    if name == "exact":
        return Exact(parameters, buffers)
    if name == "gauss_newton":
        return GaussNewton(parameters, buffers, **options)
    if name in ("finite_difference", "central", "secant"):
        return FiniteDifference(parameters, buffers, central=name == "central", secant=name == "secant", **options)
    raise unknown("derivatives", name, NAMES)
