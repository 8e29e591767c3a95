"""Problem: the parameters and the two losses, as closures; nothing here knows tokens, images or models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from ofmu.errors import InputError

Loss = Callable[[], Tensor] | Sequence[Callable[[], Tensor]]
"""A scalar of the current parameters, or a sequence of parts whose SUM is the loss. Parts are differentiated
one after the other, so that only one part's activations live at a time (gradient accumulation)."""


def parts(loss: Loss) -> Sequence[Callable[[], Tensor]]:
    """The parts whose sum is the loss: one for a plain closure.

    >>> len(parts([lambda: Tensor([1.0]), lambda: Tensor([2.0])]))
    2
    """
    return [loss] if callable(loss) else loss


@dataclass(frozen=True)
class Problem:
    """Two losses of the same parameters θ: ``forget`` is L_f, to be raised; ``retain`` is L_r, to be lowered.

    Each closure returns a scalar at the current parameters and sees the same batch and the same random draws
    at every call: the derivatives set the torch generators back after every evaluation, so fresh batches and
    fresh dropout come with a new problem (or a generator moved on by the caller), never inside one.

    Args:
        parameters: name → leaf tensor that requires a gradient; edited in place by whoever takes steps. Other
            parameters that the losses reach must not require gradients, or their ``.grad`` would fill up.
        forget: L_f, a closure or a sequence of closures whose sum is L_f.
        retain: L_r, likewise.
        buffers: name → tensor that a forward pass may change (running statistics); put back after each
            evaluation.
        part: the same two losses on part of the batch; curvature is then computed from these alone. None: on all of it.

    Raises:
        InputError: no parameters, one that cannot be trained, or one tensor under two names.
    """

    parameters: Mapping[str, Tensor]
    forget: Loss
    retain: Loss
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    part: Problem | None = None

    def __post_init__(self) -> None:
        check_parameters(self.parameters)

    @classmethod
    def of(cls, module: nn.Module, forget: Loss, retain: Loss) -> Problem:
        """The problem of a module: its parameters that require gradients, and all its buffers."""
        trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        return cls(trainable, forget, retain, dict(module.named_buffers()))


def check_parameters(parameters: Mapping[str, Tensor]) -> None:
    """Raise unless every tensor is a trainable leaf and appears once.

    Args:
        parameters: name → tensor.

    Raises:
        InputError: names the first tensor that will not do, and what to do about it.
    """
    if not parameters:
        raise InputError("there are no parameters to change: pass at least one that requires a gradient")
    seen: dict[int, str] = {}
    for name, p in parameters.items():
        if not (p.requires_grad and p.is_leaf):
            raise InputError(f"parameter '{name}' is not a leaf that requires a gradient: leave it out or unfreeze it")
        if id(p) in seen:
            raise InputError(f"parameters '{seen[id(p)]}' and '{name}' are the same tensor: pass it once")
        seen[id(p)] = name
