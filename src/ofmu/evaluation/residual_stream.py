"""What flows through a model between its blocks: hidden states of language models, features of image classifiers.

Source: METRICS.md §12 (logit lens, probe).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ofmu.data.tokens import TextBatch
from ofmu.errors import InputError
from ofmu.models.hidden import head_of

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f", "final_norm")
"""What the norm after the last block is called."""


@dataclass(frozen=True)
class Decoder:
    """The parts of a language model that its residual stream passes.

    Args:
        blocks: in order; each gives (B, T, d), or a tuple that begins with it.
        norm: between the last block and the head.
        head: (…, d) → (…, V).
    """

    blocks: tuple[nn.Module, ...]
    norm: nn.Module
    head: nn.Module


def decoder(model: nn.Module) -> Decoder:
    """Blocks, final norm and head of a language model of the usual make (Llama and its like, GPT-2 …).

    Raises:
        InputError: they cannot be told; names the model's class.
    """
    name = type(model).__name__
    stack = _stack(model)
    if stack is None:
        raise InputError(f"{name}: its blocks cannot be told (no list of as many modules as it has hidden layers)")
    norms = {key: child for key, child in stack[0].named_children() if key in FINAL_NORMS}
    head = head_of(model)
    if len(norms) != 1 or head is None:
        found = ", ".join(key for key, _ in stack[0].named_children())
        raise InputError(f"{name}: its final norm cannot be told beside its blocks (found: {found})")
    return Decoder(tuple(stack[1]), next(iter(norms.values())), head)


def _stack(model: Any) -> tuple[nn.Module, nn.ModuleList] | None:
    """The list of blocks and the module that holds it."""
    config = getattr(model, "config", None)
    count = getattr(config.get_text_config(), "num_hidden_layers", None) if config is not None else None
    for holder in model.modules():
        for child in holder.children():
            if isinstance(child, nn.ModuleList) and len(child) == count:
                return holder, child
    return None


@contextmanager
def watched(blocks: tuple[nn.Module, ...]) -> Iterator[list[Tensor]]:
    """Inside, each forward pass leaves the outputs of the blocks here, (B, T, d) each, in the blocks' order."""
    seen: list[Tensor] = [torch.empty(0)] * len(blocks)

    def keep(index: int) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            seen[index] = output if isinstance(output, Tensor) else output[0]

        return hook

    handles = [block.register_forward_hook(keep(index)) for index, block in enumerate(blocks)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def last_prompt_positions(batch: TextBatch) -> Tensor:
    """(B,) position of the token before the first scored one."""
    return (batch.labels >= 0).int().argmax(dim=1) - 1


def prompt_states(model: nn.Module, encoded: Any, *, batch_size: int, device: Any) -> np.ndarray:
    """The residual stream after each block at the last token of the prompt: (L, N, d) float32.

    Raises:
        InputError: the model's blocks cannot be told.
    """
    parts = decoder(model)
    found = []
    with watched(parts.blocks) as seen, torch.no_grad():
        for start in range(0, len(encoded), batch_size):
            batch = encoded.batch(range(start, min(start + batch_size, len(encoded)))).to(device)
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
            rows, at = torch.arange(len(batch), device=batch.labels.device), last_prompt_positions(batch)
            found.append(np.stack([state[rows, at].float().cpu().numpy() for state in seen]))
    return np.concatenate(found, axis=1)


def features(model: nn.Module, encoded: Any, *, batch_size: int, device: Any) -> np.ndarray:
    """What the head of an image classifier is given: (1, N, d) float32, one "layer".

    Raises:
        InputError: the model has no linear head.
    """
    head = head_of(model)
    if not isinstance(head, nn.Linear):
        raise InputError(f"{type(model).__name__}: its last layer is not linear, so there are no features to probe")
    found: list[np.ndarray] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        found.append(given[0].flatten(1).float().cpu().numpy())

    handle = head.register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            for start in range(0, len(encoded), batch_size):
                model(encoded.batch(range(start, min(start + batch_size, len(encoded)))).to(device).pixel_values)
    finally:
        handle.remove()
    return np.concatenate(found)[None]
