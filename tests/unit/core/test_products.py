"""Inner products that are remembered are those of the vectors as they are now."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ofmu.core import foreach, products
from ofmu.core.vector import Combination, Direction, Vector


def pair() -> tuple[Vector, Vector]:
    draw = torch.Generator().manual_seed(0)
    x, y = ({"a": torch.randn(40, 50, generator=draw), "b": torch.randn(3, generator=draw)} for _ in "xy")
    return Vector(x), Vector({name: y[name] for name in ("b", "a")})


def true_product(x: Direction, y: Direction) -> float:
    return sum(float((x[name].double() * y[name].double()).sum()) for name in ("a", "b"))


class Passing(TorchDispatchMode):
    """Does nothing; torch then counts no write of a kernel of several tensors."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def backward_into(x: Vector) -> None:
    for tensor in x.values():
        p = torch.nn.Parameter(torch.zeros_like(tensor))
        p.grad = tensor
        p.sum().backward()


WRITES: dict[str, Callable[[Vector], object]] = {
    "add_": lambda x: x.add_(pair()[1], 0.5),
    "mul_": lambda x: x.mul_(-3.0),
    "one tensor": lambda x: x["b"].fill_(2.0),
    "a part of one": lambda x: x["a"][3:].zero_(),
    "several at once": lambda x: foreach.add_(list(x.values()), 1.0),
    "a backward pass": backward_into,
    "another tensor": lambda x: x.update(b=torch.ones(3)),
}


CASES = [(name, watched) for name in WRITES for watched in (False, True)]
CASES.remove(("several at once", True))  # torch counts no such write there; vectors count their own


@pytest.mark.parametrize(("name", "watched"), CASES)
def test_what_is_remembered_is_forgotten_by_any_write(name: str, watched: bool) -> None:
    write = WRITES[name]
    for changed in (0, 1):
        both = pair()
        x, y = both
        _ = x.dot(y), x.norm(), y.norm()
        if watched:
            with Passing():
                write(both[changed])
        else:
            write(both[changed])
        for one, other in ((x, y), (x, x), (y, y)):
            assert float(one.dot(other)) == pytest.approx(true_product(one, other), rel=1e-6)


def test_an_inner_product_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    whole = products.sum_of_products
    monkeypatch.setattr(products, "sum_of_products", lambda pairs: taken.append(1) or whole(pairs))
    x, y = pair()
    for _ in range(3):
        _ = x.dot(y), x.norm(), y.norm()
        Combination(x, 2.0, y, -0.5).norm()
        Combination(x, 1.0, y, 3.0).dot(x)
    assert len(taken) == 4  # ⟨x, y⟩, ‖x‖, ‖y‖ and ⟨y, x⟩


def test_what_has_a_graph_is_not_remembered() -> None:
    x, y = pair()
    leaf = Vector({name: t.clone().requires_grad_() for name, t in x.items()})
    with torch.no_grad():
        leaf.dot(y)
    for _ in range(2):
        (found,) = torch.autograd.grad(leaf.dot(y), [leaf["a"]])
        assert torch.allclose(found, y["a"])


@pytest.mark.parametrize("beta", [-0.5, 1.0, -1.0])
def test_a_combination_is_what_it_would_be_as_a_vector(beta: float) -> None:
    x, y = pair()
    y = y if beta > -1 else Vector({name: t + 1e-4 * y[name] for name, t in x.items()})  # nearly cancels
    d = Combination(x, 1.0, y, beta)
    formed = d.formed()
    assert float(d.norm()) == pytest.approx(float(formed.norm()), rel=1e-4)
    assert float(d.dot(x)) == pytest.approx(true_product(formed, x), abs=1e-4 * float(x.norm()) ** 2)
    for name, t in formed.items():
        moved = torch.ones_like(t)
        d.move(moved, name, 0.25)
        torch.testing.assert_close(moved, 1 + 0.25 * t)
