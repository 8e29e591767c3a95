"""Teaching a model for a few steps, and taking it back: the fine-tuning inside the relearning attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ofmu.data.streams import Stream
from ofmu.engine.forward import Encoded, rows

Context = Callable[[], AbstractContextManager[Any]]


def teach(
    model: nn.Module,
    data: Encoded,
    *,
    steps: Sequence[int],
    learning_rate: float,
    batch_size: int,
    seed: int,
    autocast: Context = nullcontext,
) -> Iterator[int]:
    """Fine-tune, and stop at the steps asked for; the weights come back bit for bit when it is done or closed.

    θ ← AdamW(∇ mean token loss) with a constant step size and no weight decay. The model stays in the mode it is in:
    in evaluation mode there is no dropout and batch statistics are frozen, so that the weights alone learn and the same
    seed gives the same course. Batches are shuffled without replacement.

    Args:
        model: placed, all of its parameters trained.
        data: what is taught.
        steps: ascending, each ≥ 0.
        learning_rate: η.
        batch_size: examples of one step; all of them where there are fewer.
        seed: of the order.
        autocast: context of a forward pass.

    Yields:
        Each of the steps, when the model has taken so many.
    """
    before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    parameters = list(model.parameters())
    trained = [parameter.requires_grad for parameter in parameters]
    stream = Stream(len(data.ids), min(batch_size, len(data.ids)), seed)
    try:
        model.requires_grad_(True)
        optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
        taken = 0
        for stop in steps:
            for _ in range(stop - taken):
                _step(model, data.batch(stream.next()).to(parameters[0].device), optimiser, autocast)
            taken = stop
            yield stop
    finally:
        _put_back(model, before, trained)


def _step(model: nn.Module, batch: Any, optimiser: torch.optim.Optimizer, autocast: Context) -> None:
    with torch.enable_grad():
        with autocast():
            found = rows(model, batch)
        loss = -found.log_probabilities().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
    optimiser.step()


def _put_back(model: nn.Module, before: dict[str, Tensor], trained: list[bool]) -> None:
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(before[name])
    for parameter, requires_grad in zip(model.parameters(), trained):
        parameter.grad = None
        parameter.requires_grad_(requires_grad)
