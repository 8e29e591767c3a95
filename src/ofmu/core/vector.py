"""Vector: one point or direction in parameter space, kept as named tensors, never flattened.

Works on sharded tensors too: a DTensor stays sharded, and only inner products travel between ranks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Protocol, final

import torch
from torch import Tensor

from ofmu.core import foreach
from ofmu.core.foreach import bundles
from ofmu.core.products import Remembered, sum_of_products

Scalar = float | Tensor

CANCELS: Final = 1e-4
"""‖αx + βy‖² below this share of ‖αx‖² + ‖βy‖² is summed from the entries: the three inner products of x and y would
leave too few digits of it."""


def number(scalar: Tensor) -> float:
    """The float in a 0-d tensor, whether or not it belongs to a graph."""
    return float(scalar.detach())


class Direction(Protocol):
    """What parameters can be moved along: its entries by name, and inner products."""

    def __getitem__(self, name: str, /) -> Tensor:
        """The entries of one tensor."""
        ...

    def move(self, x: Tensor, name: str, scale: float, /) -> None:
        """Of one tensor: x ← x + scale · self[name], in place and outside any graph."""
        ...

    def dot(self, other: Direction) -> Tensor:
        """⟨self, other⟩."""
        ...

    def norm(self) -> Tensor:
        """‖self‖."""
        ...


class Vector(dict[str, Tensor]):
    """name → tensor, with +, −, scalar ·, inner product and norm.

    Operators allocate; the methods that end in ``_`` write in place. Two vectors that meet have the same
    names.

    >>> x = Vector(w=torch.tensor([3.0, 4.0]))
    >>> float(x.norm()), (2 * x - x)["w"].tolist()
    (5.0, [3.0, 4.0])
    """

    def __init__(self, *tensors: Any, **named: Tensor) -> None:
        super().__init__(*tensors, **named)
        self.writes = 0
        self._products = Remembered()

    @classmethod
    def zeros_like(cls, tensors: Mapping[str, Tensor]) -> Vector:
        """Zeros with the names, shapes, dtypes and shards of ``tensors``, outside any graph."""
        return cls({name: torch.zeros_like(x.detach()) for name, x in tensors.items()})

    def __add__(self, other: Vector) -> Vector:
        return self.plus(other, 1.0)

    def __sub__(self, other: Vector) -> Vector:
        return self.plus(other, -1.0)

    def __mul__(self, scalar: Scalar) -> Vector:
        factor = _number(scalar)
        return Vector({name: x * factor for name, x in self.items()})

    __rmul__ = __mul__

    def __truediv__(self, scalar: Scalar) -> Vector:
        return self * (1.0 / scalar)

    def __neg__(self) -> Vector:
        return self * -1.0

    def plus(self, other: Vector, scalar: Scalar) -> Vector:
        """One multiple more: self + scalar · other, with one allocation where the scalar is a plain number."""
        factor = _number(scalar)
        if isinstance(factor, Tensor):
            return Vector({name: x + factor * other[name] for name, x in self.items()})
        return Vector({name: torch.add(x, other[name], alpha=factor) for name, x in self.items()})

    def add_(self, other: Vector, scalar: float = 1.0) -> Vector:
        """Self ← self + scalar · other, in place and outside any graph (BLAS calls it axpy)."""
        self.writes += 1
        with torch.no_grad():
            for names in bundles(self):
                foreach.add_([self[n] for n in names], [other[n] for n in names], alpha=scalar)
        return self

    def mul_(self, scalar: float) -> Vector:
        """Self ← scalar · self, in place and outside any graph."""
        self.writes += 1
        with torch.no_grad():
            for names in bundles(self):
                foreach.mul_([self[n] for n in names], scalar)
        return self

    def move(self, x: Tensor, name: str, scale: float) -> None:
        """Of one tensor: x ← x + scale · self[name], in place and outside any graph."""
        with torch.no_grad():
            x.add_(self[name], alpha=scale)

    def dot(self, other: Direction) -> Tensor:
        """⟨self, other⟩: a 0-d float64 tensor, the same on every rank; see ``products.py``.

        Differentiable. On sharded tensors one all-reduce for the whole vector.
        """
        return self._products.product(self, other) if isinstance(other, Vector) else other.dot(self)

    def norm(self) -> Tensor:
        """‖self‖₂: a 0-d float64 tensor, the same on every rank."""
        return self.dot(self).sqrt()

    def clone(self) -> Vector:
        """A copy with storage of its own, outside any graph."""
        return Vector({name: x.detach().clone() for name, x in self.items()})

    def detach(self) -> Vector:
        """The same numbers (same storage), outside any graph; itself where it belongs to none."""
        if not any(x.requires_grad for x in self.values()):
            return self
        return Vector({name: x.detach() for name, x in self.items()})

    def is_finite(self) -> bool:
        """Whether every entry is a finite number (a norm too large for float32 sums counts as finite)."""
        return math.isfinite(number(self.norm()))


@final
class Combination:
    """α x + β y, formed tensor by tensor when asked for: never a vector of the model's size (8).

    >>> x, y = Vector(w=torch.tensor([1.0, 0.0])), Vector(w=torch.tensor([0.0, 1.0]))
    >>> d = Combination(x, 3.0, y, 4.0)
    >>> d["w"].tolist(), float(d.norm())
    ([3.0, 4.0], 5.0)

    Args:
        x: a vector.
        alpha: α, a number or 0-d; may belong to a graph.
        y: another one of the same names.
        beta: β, likewise.
    """

    def __init__(self, x: Vector, alpha: Scalar, y: Vector, beta: Scalar) -> None:
        self._x, self._alpha, self._y, self._beta = x, _number(alpha), y, _number(beta)

    def __getitem__(self, name: str) -> Tensor:
        x, y = self._x[name] * self._alpha, self._y[name]
        return x + self._beta * y if isinstance(self._beta, Tensor) else torch.add(x, y, alpha=self._beta)

    def formed(self) -> Vector:
        """As a vector."""
        return Vector({name: self[name] for name in self._x})

    def move(self, x: Tensor, name: str, scale: float) -> None:
        """Of one tensor: x ← x + scale · self[name], in place and without any tensor of its own."""
        with torch.no_grad():
            x.add_(self._x[name], alpha=scale * float(self._alpha)).add_(self._y[name], alpha=scale * float(self._beta))

    def dot(self, other: Direction) -> Tensor:
        """⟨self, other⟩, as of a vector."""
        return self._alpha * self._x.dot(other) + self._beta * self._y.dot(other)

    def norm(self) -> Tensor:
        """‖self‖₂."""
        x, y = self._alpha**2 * self._x.dot(self._x), self._beta**2 * self._y.dot(self._y)
        square = x + y + 2 * self._alpha * self._beta * self._x.dot(self._y)
        if number(square) < CANCELS * number(x + y):
            square = sum_of_products((d, d) for d in map(self.__getitem__, self._x))
        return square.sqrt()


def _number(scalar: Scalar) -> Scalar:
    """A plain float unless the scalar belongs to a graph: sharded tensors and other devices then need no care."""
    if isinstance(scalar, Tensor) and not scalar.requires_grad:
        return number(scalar)
    return scalar
