"""From a model and a batch to the rows that losses see."""

from __future__ import annotations

import inspect
from functools import lru_cache
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
    kept = scored.any(dim=0).nonzero()[:, 0]
    logits, column = _text_logits(model, batch, kept)
    picked = _at_least_float32(logits[example, column[position]])
    found = Rows(picked, batch.labels[example, position + 1], example, batch.ids)
    return found, batch.content[example, position + 1]


def _text_logits(model: nn.Module, batch: TextBatch, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Logits at the positions `kept`, and for every position its column in them."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    length = batch.input_ids.shape[1]
    if _keeps_logits(type(_innermost(model))):
        logits = _logits(model(**inputs, logits_to_keep=kept))
        column = torch.zeros(length, dtype=torch.long, device=kept.device)
        column[kept] = torch.arange(len(kept), device=kept.device)
        return logits, column
    return _logits(model(**inputs)), torch.arange(length, device=kept.device)


def _logits(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.logits


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _innermost(model: nn.Module) -> nn.Module:
    """The user's own model inside wrappers for processes and adapters."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return _innermost(model.module)
    unwrap = getattr(model, "get_base_model", None)  # a peft model
    return unwrap() if callable(unwrap) else model  # pyright: ignore[reportReturnType]


@lru_cache(maxsize=64)
def _keeps_logits(kind: type[nn.Module]) -> bool:
    return "logits_to_keep" in inspect.signature(kind.forward).parameters
