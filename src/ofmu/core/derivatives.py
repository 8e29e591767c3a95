"""The ways to differentiate, by the names that users type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ofmu.core.backend import Derivatives
from ofmu.core.exact import Exact
from ofmu.core.finite_difference import FiniteDifference
from ofmu.errors import unknown

__all__ = ["Derivatives", "Exact", "FiniteDifference", "make"]


def make(
    name: str, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None, **options: Any
) -> Derivatives:
    """The back-end of that name.

    Args:
        name: ``exact`` or ``finite_difference``.
        parameters: name → leaf tensor.
        buffers: name → tensor put back after every evaluation.
        options: of :class:`~ofmu.core.finite_difference.FiniteDifference`; ``exact`` has none and takes no
            notice.

    Returns:
        A back-end with nothing remembered yet.

    Raises:
        InputError: no back-end has that name.
    """
    if name == "exact":
        return Exact(parameters, buffers)
    if name == "finite_difference":
        return FiniteDifference(parameters, buffers, **options)
    raise unknown("derivatives", name, ["exact", "finite_difference"])
