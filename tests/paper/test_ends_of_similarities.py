"""T1 for the block forms, and T9: where pure descent on each similarity ends (W1)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ofmu.core import Phi, Problem, Vector, inner
from ofmu.core.similarity import SIMILARITIES, make

SHAPES = {"layers.0.weight": (3, 4), "layers.0.bias": (3,), "layers.1.weight": (2, 3), "norm": (2,)}


def leaves() -> tuple[Vector, Vector]:
    """A pair in conflict in every block, so that no hinge is inactive."""
    g = torch.Generator().manual_seed(0)
    forget, other = (
        {n: torch.randn(*s, generator=g, dtype=torch.float64) for n, s in SHAPES.items()} for _ in range(2)
    )
    retain = {n: 1.5 * x + other[n] for n, x in forget.items()}
    return Vector({n: x.requires_grad_() for n, x in forget.items()}), Vector(
        {n: x.requires_grad_() for n, x in retain.items()}
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.7])
@pytest.mark.parametrize("weights", ["sum", "size"])
@pytest.mark.parametrize("division", ["layer", "tensor"])
@pytest.mark.parametrize("name", SIMILARITIES)
def test_t1_partials_of_the_block_forms(name: str, division: str, weights: str, epsilon: float) -> None:
    forget, retain = leaves()
    s = make(name, blocks=division, weights=weights)  # pyright: ignore[reportArgumentType]
    true = torch.autograd.grad(s.value(forget, retain, epsilon=epsilon), [*forget.values(), *retain.values()])
    p, q = s.partials(forget.detach(), retain.detach(), epsilon=epsilon)
    for found, expected in zip([*p.values(), *q.values()], true, strict=True):
        assert (found - expected).norm() <= 1e-12 * expected.norm()


def small_problem(seed: int) -> Problem:
    """A tanh network on two sets of points with one teacher: the gradients begin in conflict."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    teacher = nn.Linear(5, 4).double()
    x = torch.randn(60, 5, dtype=torch.float64)
    y = teacher(x).argmax(dim=1)
    return Problem(
        dict(model.named_parameters()),
        lambda: cross_entropy(model(x[:20]), y[:20]),
        lambda: cross_entropy(model(x[20:]), y[20:]),
    )


def lowered(name: str, seed: int, steps: int = 90, length: float = 0.1) -> tuple[float, float]:
    """The cosine before and after descent on the similarity alone, along −D in steps whose length falls to 0."""
    problem = small_problem(seed)
    phi = Phi(beta=1.0, similarity=name)
    start = inner(problem, phi).c
    for k in range(steps):
        at = inner(problem, phi)
        minus_D = at.gradient - at.g_f
        if at.active:
            Vector(problem.parameters).add_(minus_D, length * (1 - k / steps) / minus_D.norm().item())
    return start, inner(problem, phi).c


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("cosine", -1.0, -0.9),
        ("euclid", -1.0, -0.9),
        ("angle", -1.0, -0.9),
        ("squared_cosine", -0.02, 0.02),
        ("projection_energy", -0.02, 0.02),
        ("hinge", -0.3, 0.02),
        ("squared_hinge", -0.3, 0.02),
    ],
)
def test_t9_lowering_a_similarity_ends_where_the_table_says(name: str, low: float, high: float) -> None:
    for seed in (0, 1):
        start, end = lowered(name, seed)
        assert start > 0.2
        assert low <= end <= high
