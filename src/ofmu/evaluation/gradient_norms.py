"""How much each example would move the model: the norm of the gradient of its own loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ofmu.data.tokens import TokenSet
from ofmu.engine.forward import rows_with_content
from ofmu.engine.modes import evaluating
from ofmu.errors import InputError

Form = Literal["global", "mean_of_tensors"]


def gradient_norms(
    model: nn.Module,
    encoded: TokenSet,
    *,
    form: Form = "global",
    layers: Sequence[str] | None = None,
    device: torch.device | str | None = None,
) -> NDArray[np.float64]:
    """‖∇ mean −log p over S⁻‖ of each example, in evaluation mode and the precision of the weights.

    One backward pass an example, through the chosen parameters only. Gradients that parameters hold are left alone.

    Args:
        model: a causal language model.
        encoded: N examples.
        form: ``"global"``: the 2-norm over all parameters; ``"mean_of_tensors"``: the mean of each tensor's 2-norm, as
            open-unlearning has it (there in training mode and bfloat16).
        layers: patterns with * and ? of parameter names; None: all parameters in floating point, also frozen ones.
        device: where the model is; None: where its first parameter is.

    Returns:
        (N,) float64, ≥ 0; NaN for an example without a token in S⁻; +inf where the loss or a gradient is not finite.

    Raises:
        InputError: if no parameter has a name that fits.

    Source: METRICS.md §4, mia_gradnorm.
    """
    chosen = _chosen(model, layers)
    device = next(model.parameters()).device if device is None else device
    norm: Callable[[list[Tensor]], Tensor] = _NORMS[form]
    norms = np.full(len(encoded), np.nan)
    with evaluating(model), _only(model, chosen), torch.enable_grad():
        for index in range(len(encoded)):
            found, content = rows_with_content(model, encoded.batch([index]).to(device))
            if not content.any():
                continue
            loss = -found.log_probabilities()[content].mean()
            gradients = torch.autograd.grad(loss, chosen, allow_unused=True)
            value = float(norm([_norm(gradient, loss) for gradient in gradients]))
            norms[index] = value if np.isfinite(value) else np.inf
    return norms


_NORMS: dict[Form, Callable[[list[Tensor]], Tensor]] = {
    "global": lambda norms: torch.stack(norms).norm(),
    "mean_of_tensors": lambda norms: torch.stack(norms).mean(),
}


def _norm(gradient: Tensor | None, loss: Tensor) -> Tensor:
    """2-norm of a tensor's gradient, as float64; a tensor without part in the loss has 0."""
    if gradient is None:
        return torch.zeros((), dtype=torch.float64, device=loss.device)
    return torch.linalg.vector_norm(gradient).double()


def _chosen(model: nn.Module, layers: Sequence[str] | None) -> list[nn.Parameter]:
    named = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
    if layers is not None:
        named = {name: p for name, p in named.items() if any(fnmatchcase(name, pattern) for pattern in layers)}
    if not named:
        known = ", ".join(list(dict(model.named_parameters()))[:4])
        raise InputError(f"no parameter is called {' or '.join(layers or ('*',))}; there are: {known} …")
    return list(named.values())


@contextmanager
def _only(model: nn.Module, chosen: Sequence[nn.Parameter]) -> Iterator[None]:
    """Of all parameters only these take part in the graph; afterwards each does as before."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    wanted = {id(parameter) for parameter in chosen}
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in wanted)
        yield
    finally:
        for parameter, own in before:
            parameter.requires_grad_(own)
