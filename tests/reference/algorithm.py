"""The published algorithm by naive automatic differentiation of Φ and F, on one flat vector: (1) and (3) to (6)."""

from __future__ import annotations

import torch
from torch import Tensor

from reference.dense import Flat, gradient, objective, phi


def published(
    forget: Flat,
    retain: Flat,
    theta: Tensor,
    *,
    rounds: int,
    inner_steps: int,
    inner_lr: float,
    outer_lr: float,
    beta: float,
    rho: float,
    growth: float,
) -> list[Tensor]:
    """θ after each round: T ascents on Φ = L_f − β cos(∇L_f, ∇L_r), one descent on L_r + ρ_k‖∇Φ‖², ρ_{k+1} = γρ_k."""
    places = []
    theta = theta.detach().clone()
    for k in range(rounds):
        for _ in range(inner_steps):
            theta = theta + inner_lr * gradient(lambda t: phi(forget, retain, "cosine", beta, t), theta)
        weight = rho * growth**k
        theta = theta - outer_lr * gradient(
            lambda t, weight=weight: objective(forget, retain, "cosine", beta, weight, t), theta
        )
        places.append(theta.clone())
    return places


def flat_of(model: torch.nn.Module) -> Tensor:
    """All parameters of a model as one vector, in the order of their names."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def on_flat(model: torch.nn.Module, inputs: Tensor, targets: Tensor) -> Flat:
    """The mean cross-entropy of a classifier of images as a function of its flat parameters."""
    names, shapes = zip(*((name, p.shape) for name, p in model.named_parameters()), strict=True)
    sizes = [shape.numel() for shape in shapes]

    def loss(theta: Tensor) -> Tensor:
        cut = {name: x.view(shape) for name, x, shape in zip(names, theta.split(sizes), shapes, strict=True)}
        return torch.nn.functional.cross_entropy(torch.func.functional_call(model, cut, (inputs,)), targets)

    return loss
