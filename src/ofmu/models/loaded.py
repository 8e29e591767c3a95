"""A model that has been read, with all that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from ofmu.models.keeping import Keep
from ofmu.models.processors import ImageProcessor

Modality = Literal["text", "image"]


@dataclass(frozen=True)
class Loaded:
    """A model ready to be trained or measured: float32 master weights, evaluation mode, ``use_cache`` off.

    Args:
        model: the torch module; a PeftModel under LoRA.
        tokenizer: of a language model; None for images.
        processor: of an image classifier; None if none came with it (then the caller needs a transform).
        modality: "text" or "image".
        dtype: floating type of most weights as they came in; saving writes it again.
        name: what the user called it; the class name for a model in memory.
        fingerprint: sha256 of the float32 weights, :func:`ofmu.models.weights.fingerprint`.
        adapter: True if the model is a base with a peft adapter, of which only the adapter is trained.
        in_memory: True if the caller passed the object itself.
        context: longest input in tokens; None for images and for models without a limit.
        num_classes: of an image classifier; None for text, or if it cannot be told.
        origin: directory or hub name that the (base) weights came from; None: there is none.
        dtypes: type of each tensor as it came in, by name, where it is known.
        came_as_adapter: True if the adapter came in with the model, so that the reference is the adapted
            model and not the base; :func:`ofmu.models.adapters.adapter_off` is then not the reference.
        use_cache: the configuration's value before it was switched off; None: it has none.
        keep: how a model in memory came in; None otherwise.
        notes: what a user should know about how it was read, a line each.
    """

    model: nn.Module
    tokenizer: Any
    processor: ImageProcessor | None
    modality: Modality
    dtype: torch.dtype
    name: str
    fingerprint: str
    adapter: bool = False
    in_memory: bool = False
    context: int | None = None
    num_classes: int | None = None
    origin: str | None = None
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)
    came_as_adapter: bool = False
    use_cache: bool | None = None
    keep: Keep | None = None
    notes: tuple[str, ...] = ()

    def handed_back(self) -> AbstractContextManager[object]:
        """Inside, the model is ours; afterwards, after exceptions too, a model in memory is as it came in."""
        return nullcontext() if self.keep is None else self.keep

    @contextmanager
    def handed_back_on_error(self) -> Iterator[None]:
        """As :meth:`handed_back`, but without an exception the model stays ours."""
        with ExitStack() as undone:
            undone.enter_context(self.handed_back())
            yield
            undone.pop_all()
