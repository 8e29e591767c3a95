"""A toy whose parameters are one flat vector, so that every formula can be written naively, with dense Hessians.

Nothing here comes from the package: the reference must not share a mistake with it. :meth:`Toy.leaves` cuts the flat
vector into the named tensors that the package wants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Flat = Callable[[Tensor], Tensor]
SHAPES = {"W1": (7, 5), "b1": (7,), "W2": (4, 7), "b2": (4,)}


@dataclass
class Toy:
    """A tanh network on random data in float64: 74 parameters, 9 forget and 14 retain examples."""

    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.seed)
        self.x = torch.randn(23, 5, generator=g, dtype=torch.float64).to(self.dtype)
        self.y = torch.randint(4, (23,), generator=g)
        size = sum(torch.Size(s).numel() for s in SHAPES.values())
        self.theta = (0.5 * torch.randn(size, generator=g, dtype=torch.float64)).to(self.dtype)

    def cut(self, flat: Tensor) -> dict[str, Tensor]:
        sizes = [torch.Size(s).numel() for s in SHAPES.values()]
        return {n: v.view(s) for (n, s), v in zip(SHAPES.items(), flat.split(sizes), strict=True)}

    def leaves(self) -> dict[str, Tensor]:
        return {n: v.clone().requires_grad_() for n, v in self.cut(self.theta).items()}

    def loss(self, p: dict[str, Tensor], rows: slice) -> Tensor:
        logits = (self.x[rows] @ p["W1"].T + p["b1"]).tanh() @ p["W2"].T + p["b2"]
        return F.cross_entropy(logits, self.y[rows])

    def forget(self, p: dict[str, Tensor]) -> Tensor:
        return self.loss(p, slice(0, 9))

    def retain(self, p: dict[str, Tensor]) -> Tensor:
        return self.loss(p, slice(9, 23))

    def flat_losses(self) -> tuple[Flat, Flat]:
        return lambda t: self.forget(self.cut(t)), lambda t: self.retain(self.cut(t))


def naive_similarity(name: str, g_f: Tensor, g_r: Tensor, eps: float = 0.0) -> Tensor:
    """Each similarity as its sentence says, with its default options, differentiable by autograd."""
    a, b = (g_f @ g_f + eps**2).sqrt(), (g_r @ g_r + eps**2).sqrt()
    cos = (g_f @ g_r) / (a * b)
    none = torch.zeros_like(cos)
    made = {
        "cosine": lambda: cos,
        "squared_cosine": lambda: cos * cos,
        "hinge": lambda: torch.where(cos > 0, cos, none),
        "squared_hinge": lambda: torch.where(cos > 0, cos * cos, none),
        "soft_hinge": lambda: 0.1 * torch.log1p(torch.exp(cos / 0.1)),
        "euclid": lambda: -torch.sqrt(2 - 2 * cos + 1e-4),
        "angle": lambda: -torch.acos(0.9999 * cos),
        "projection": lambda: (g_f @ g_r) / b,
        "projection_energy": lambda: ((g_f @ g_r) / b) ** 2 / 2,
        "retain_projection": lambda: (g_f @ g_r) / a,
        "inner_product": lambda: g_f @ g_r,
        "squared_inner_product": lambda: (g_f @ g_r) ** 2 / 2,
    }
    return made[name]()


def phi(forget: Flat, retain: Flat, name: str, beta: float, theta: Tensor) -> Tensor:
    """Φ = L_f − β s(∇L_f, ∇L_r), still differentiable."""
    (g_f,) = torch.autograd.grad(forget(theta), theta, create_graph=True)
    (g_r,) = torch.autograd.grad(retain(theta), theta, create_graph=True)
    return forget(theta) - beta * naive_similarity(name, g_f, g_r)


def nabla_phi(forget: Flat, retain: Flat, name: str, beta: float, theta: Tensor) -> Tensor:
    (w,) = torch.autograd.grad(phi(forget, retain, name, beta, theta), theta, create_graph=True)
    return w


def objective(forget: Flat, retain: Flat, name: str, beta: float, rho: float, theta: Tensor) -> Tensor:
    """F = L_r + ρ ‖∇Φ‖², still differentiable."""
    w = nabla_phi(forget, retain, name, beta, theta)
    return retain(theta) + rho * (w @ w)


def gradient(f: Flat, theta: Tensor) -> Tensor:
    theta = theta.detach().requires_grad_()
    return torch.autograd.grad(f(theta), theta)[0]


def flat(vector: dict[str, Tensor]) -> Tensor:
    return torch.cat([x.detach().flatten() for x in vector.values()])


def error(found: dict[str, Tensor] | Tensor, true: Tensor) -> float:
    """Relative error in the 2-norm, in float64."""
    x = flat(found) if isinstance(found, dict) else found.detach()
    true = true.detach().double()
    return float((x.double() - true).norm() / true.norm())
