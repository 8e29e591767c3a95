"""Vector: one point or direction in parameter space, kept as named tensors, never flattened.

Works on sharded tensors too: a DTensor stays sharded, and only inner products travel between ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, Protocol, final

import torch
from torch import Tensor

from ofmu.core import foreach
from ofmu.core.foreach import bundles, is_sharded

Scalar = float | Tensor

BLOCK: Final = 1 << 10
"""Products summed in the tensors' own precision before the sum goes on in float64: as exact as float64 throughout
(what counts is the rounding of each product), at a tenth of the time."""


def number(scalar: Tensor) -> float:
    """The float in a 0-d tensor, whether or not it belongs to a graph."""
    return float(scalar.detach())


class Direction(Protocol):
    """What parameters can be moved along: its entries by name, and inner products."""

    def __getitem__(self, name: str, /) -> Tensor:
        """The entries of one tensor."""
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
        with torch.no_grad():
            for names in bundles(self):
                foreach.add_([self[n] for n in names], [other[n] for n in names], alpha=scalar)
        return self

    def mul_(self, scalar: float) -> Vector:
        """Self ← scalar · self, in place and outside any graph."""
        with torch.no_grad():
            for names in bundles(self):
                foreach.mul_([self[n] for n in names], scalar)
        return self

    def dot(self, other: Direction) -> Tensor:
        """⟨self, other⟩: a 0-d float64 tensor, the same on every rank; summed in float64, :data:`BLOCK` by block.

        Differentiable. On sharded tensors one all-reduce for the whole vector.
        """
        return inner_product(self, self, other)

    def norm(self) -> Tensor:
        """‖self‖₂: a 0-d float64 tensor, the same on every rank."""
        return self.dot(self).sqrt()

    def clone(self) -> Vector:
        """A copy with storage of its own, outside any graph."""
        return Vector({name: x.detach().clone() for name, x in self.items()})

    def detach(self) -> Vector:
        """The same numbers (same storage), outside any graph."""
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

    def dot(self, other: Direction) -> Tensor:
        """⟨self, other⟩, as of a vector."""
        return inner_product(self._x, self, other)

    def norm(self) -> Tensor:
        """‖self‖₂."""
        return self.dot(self).sqrt()


def inner_product(names: Iterable[str], x: Direction, y: Direction) -> Tensor:
    """⟨x, y⟩ over the tensors of these names, as of vectors."""
    whole: Tensor | None = None
    sharded: Tensor | None = None
    for name in names:
        one = x[name]
        product = _sum_of_products(one, one if x is y else y[name])
        if is_sharded(product):
            sharded = product if sharded is None else sharded + product
        else:
            whole = product if whole is None else whole + product.to(whole.device)
    if sharded is not None and is_sharded(sharded):
        gathered = sharded.full_tensor()
        whole = gathered if whole is None else whole.to(gathered.device) + gathered
    return torch.zeros((), dtype=torch.float64) if whole is None else whole


def _number(scalar: Scalar) -> Scalar:
    """A plain float unless the scalar belongs to a graph: sharded tensors and other devices then need no care."""
    if isinstance(scalar, Tensor) and not scalar.requires_grad:
        return number(scalar)
    return scalar


def _sum_of_products(x: Tensor, y: Tensor) -> Tensor:
    if x.dtype in {torch.float16, torch.bfloat16}:
        x, y = x.float(), y.float()
    if x.device.type == "mps":  # has no float64
        return (x * y).sum().cpu().double()
    if is_sharded(x) or is_sharded(y) or x.numel() < BLOCK:
        return (x * y).sum(dtype=torch.float64)
    x, y = x.reshape(-1), y.reshape(-1)
    whole = x.numel() // BLOCK * BLOCK
    blocks = torch.linalg.vecdot(x[:whole].view(-1, BLOCK), y[:whole].view(-1, BLOCK))
    total = blocks.sum(dtype=torch.float64)
    return total if whole == x.numel() else total + (x[whole:] * y[whole:]).sum(dtype=torch.float64)
