"""From a model and a batch to the rows that losses see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ofmu.data.images import ImageBatch, ImageSet
from ofmu.data.tokens import TextBatch, TokenSet
from ofmu.losses.rows import Rows

Batch = TextBatch | ImageBatch
Encoded = TokenSet | ImageSet


def rows(model: nn.Module, batch: Batch) -> Rows:
    """The scored positions of a batch, logits in float32 (or wider, if the model computes wider).

    Args:
        model: a causal language model for a text batch; a classifier of images for an image batch.
        batch: B examples on the model's device.

    Returns:
        Rows over all scored tokens (text) or over the B images.
    """
    return rows_with_content(model, batch)[0]


def rows_with_content(model: nn.Module, batch: Batch) -> tuple[Rows, Tensor]:
    """As :func:`rows`, with a mask (R,) of the rows that are content: no end of turn, no special token."""
    if isinstance(batch, ImageBatch):
        logits = _at_least_float32(_logits(model(batch.pixel_values)))
        example = torch.arange(len(batch.ids), device=logits.device)
        return Rows(logits, batch.labels, example, batch.ids), torch.ones_like(batch.labels, dtype=torch.bool)
    scored = batch.labels[:, 1:] >= 0  # column t-1: is token t scored; logits t-1 predict it
    example, position = scored.nonzero(as_tuple=True)
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    picked = logits_at(model, inputs, example, position)
    found = Rows(picked, batch.labels[example, position + 1], example, batch.ids)
    return found, batch.content[example, position + 1]


def logits_at(model: nn.Module, inputs: Mapping[str, Tensor], example: Tensor, position: Tensor) -> Tensor:
    """The R logits of a language model at these positions, in float32 or wider: (R, V).

    A head that is a layer of its own gets these hidden states only, as one text of R tokens: no other logits are ever
    made. What a model does with its logits afterwards (scaling, capping) goes on as it is.

    Args:
        model: a causal language model.
        inputs: what its forward pass takes, ``input_ids`` (B, T) among them.
        example: (R,), values in 0 … B-1.
        position: (R,), values in 0 … T-1.
    """
    find = getattr(innermost(model), "get_output_embeddings", None)
    head = find() if callable(find) else None
    shape = inputs["input_ids"].shape
    picked = False

    def pick(_: nn.Module, states: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        nonlocal picked
        if not states or states[0].dim() != 3 or states[0].shape[:2] != shape:
            return None
        picked = True
        return states[0][example, position][None], *states[1:]

    handle = head.register_forward_pre_hook(pick) if isinstance(head, nn.Module) else None
    try:
        output = model(**inputs, use_cache=False)
    finally:
        if handle is not None:
            handle.remove()
    return _at_least_float32(_logits(output)[0] if picked else _logits(output)[example, position])


def _logits(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.logits


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def innermost(model: nn.Module) -> nn.Module:
    """The user's own model inside wrappers for processes and adapters."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return innermost(model.module)
    unwrap = getattr(model, "get_base_model", None)  # a peft model
    return unwrap() if callable(unwrap) else model  # pyright: ignore[reportReturnType]
