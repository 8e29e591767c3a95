"""How near the retain examples are to the forget set, by the hidden states that the model makes its answers from.

Of h_i, the mean over the scored rows of example i of what goes into the head of the model before unlearning:

    ĥ_i = (h_i − μ)/‖h_i − μ‖,    μ = ½ (mean of h over the forget set + mean of h over the retain set)
    nearness_i = ⟨ĥ_i, mean_j ĥ_j⟩ = mean_j cos(h_i − μ, h_j − μ),    j over the forget set.

μ is taken off because hidden states share a large mean, with which all cosines are near 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ofmu.engine.forward import Encoded, innermost, rows
from ofmu.engine.levels import Floats
from ofmu.engine.loss import Draw
from ofmu.engine.task import Task, choose
from ofmu.errors import InputError
from ofmu.losses.rows import Rows
from ofmu.models.hidden import head_of

SAMPLE = 512
"""Most examples of each set from which μ and the direction of the forget set are taken."""


def nearness(task: Task) -> Floats:
    """nearness_i of every retain example: (n,), −1 … 1; 0 where h_i is μ itself.

    It costs a forward pass over the retain set and one over a sample of both. All ranks get the same values.

    Raises:
        InputError: the model has no layer of its own that makes logits of hidden states.
    """
    with head_inputs(task.model) as states:
        forget, retain = (_sampled(task, task.data[name], states) for name in ("forget", "retain"))
        centre = (forget.mean(0) + retain.mean(0)) / 2
        direction = _units(forget - centre).mean(0)
        everything = Draw(task.data["retain"], tuple(range(len(task.data["retain"].ids))))
        return task.facts(everything, lambda found: _units(states(found) - centre) @ direction)


def near_and_others(near: Floats, count: int, *, others: bool) -> list[list[int]]:
    """The `count` nearest examples, and with `others` the rest as a second group; of equals the first are nearer.

    >>> near_and_others(np.array([0.1, 0.9, 0.5, -0.2]), 2, others=True)
    [[1, 2], [0, 3]]
    """
    order = np.argsort(-near, kind="stable").tolist()
    groups = [order[:count], order[count:]] if others else [order[:count]]
    return [sorted(group) for group in groups]


def check_head(task: Task) -> None:
    """Make sure, by one example, that hidden states can be seen.

    Raises:
        InputError: the model has no layer of its own that makes its logits of them.
    """
    with head_inputs(task.model) as states:
        _width(task, task.data["retain"], states)


@contextmanager
def head_inputs(model: nn.Module) -> Iterator[Callable[[Rows], Tensor]]:
    """Inside, a fact of the batch that went through the model last: h of each example, (B, d) float64 on the CPU.

    A head that sees several places of an image gives the mean over them.

    Raises:
        InputError: the model has no layer of its own that makes logits of hidden states.
    """
    head = head_of(innermost(model))
    seen: list[tuple[Tensor, Tensor]] = []

    def look(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        channels = isinstance(layer, _ConvNd)
        seen[:] = [(_last(inputs[0], channels), _last(output, channels))]

    def states(found: Rows) -> Tensor:
        h = _of_examples(*seen[0], found) if seen else None
        if h is None:
            raise _unseen(model)
        return h

    if head is None:
        raise _unseen(model)
    handle = head.register_forward_hook(look)
    try:
        yield states
    finally:
        handle.remove()


def _of_examples(inputs: Tensor, outputs: Tensor, found: Rows) -> Tensor | None:
    """The mean of the head's inputs over each example's rows: (B, d); None if the logits are not made of them."""
    each = inputs.cpu().double()
    places = each.dim() > 2 and len(each) == len(found.example)
    each = each.flatten(1, -2).mean(1) if places else each.flatten(0, -2)
    if outputs.shape[-1] != found.logits.shape[1] or len(each) != len(found.example):
        return None
    totals = torch.zeros(len(found.ids), each.shape[1]).double().index_add(0, found.example.cpu(), each)
    return totals / found.counts().cpu().clamp_min(1)[:, None]


def _sampled(task: Task, data: Encoded, states: Callable[[Rows], Tensor]) -> Tensor:
    """The states h of a sample of a set: (≤ SAMPLE, d)."""
    chosen = Draw(data, tuple(choose(range(len(data.ids)), SAMPLE, task.seed)))
    return torch.from_numpy(task.facts(chosen, states, shape=(_width(task, data, states),)))


def _width(task: Task, data: Encoded, states: Callable[[Rows], Tensor]) -> int:
    """d, from one example."""
    batch = data.batch([0]).to(task.processes.device)
    with torch.no_grad(), task.processes.autocast():
        return states(rows(task.model, batch)).shape[1]


def _units(away: Tensor) -> Tensor:
    """Rows of length 1; zeros stay zeros."""
    return away / away.norm(dim=1, keepdim=True).clamp_min(torch.finfo(away.dtype).tiny)


def _last(values: Tensor, channels: bool) -> Tensor:
    """With the channels of a convolution last."""
    return values.movedim(1, -1) if channels else values


def _unseen(model: nn.Module) -> InputError:
    kind = type(innermost(model)).__name__
    return InputError(f"{kind}: no layer was seen to make its logits of hidden states; leave --retain-sampling out")
