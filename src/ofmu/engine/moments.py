"""A torch optimiser's state by parameter name, as checkpoints hold it."""

from __future__ import annotations

from typing import Any

import torch


def moments_by_name(optimiser: torch.optim.Optimizer, parameters: dict[str, torch.Tensor]) -> dict[str, dict[str, Any]]:
    """What a torch optimiser holds, by parameter name."""
    return {name: dict(optimiser.state[p]) for name, p in parameters.items() if p in optimiser.state}


def restore_moments(
    optimiser: torch.optim.Optimizer, parameters: dict[str, torch.Tensor], moments: dict[str, dict[str, Any]]
) -> None:
    """Put back what :func:`moments_by_name` took."""
    for name, held in moments.items():
        optimiser.state[parameters[name]] = dict(held)
