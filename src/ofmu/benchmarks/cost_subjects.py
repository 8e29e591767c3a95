"""What costs are measured on: a model, and random batches of one shape, as a task."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ofmu.errors import InputError
from ofmu.ranges import Range

if TYPE_CHECKING:
    from ofmu.engine.forward import Encoded
    from ofmu.engine.task import Task
    from ofmu.models.loaded import Loaded

SIDES = ("forget", "retain")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and the shape of its batches."""

    model: str = "llama"
    """`llama` and `resnet20` are random ones; otherwise a folder with a model."""
    hidden: Annotated[int, Range(ge=8)] = 256
    """Width of the random Llama."""
    layers: Annotated[int, Range(ge=1)] = 6
    """Its layers."""
    heads: Annotated[int, Range(ge=1)] = 8
    """Its attention heads."""
    intermediate: Annotated[int, Range(ge=8)] = 704
    """Width of its feed-forward layers."""
    vocabulary: Annotated[int, Range(ge=16)] = 4096
    """Its tokens."""
    lora: Annotated[int, Range(ge=0)] = 0
    """Rank of a LoRA adapter to train in place of all weights; 0 for none."""
    batch: Annotated[int, Range(ge=1)] = 8
    """Examples of a batch."""
    sequence: Annotated[int, Range(ge=2)] = 64
    """Tokens of an example, all but the first scored."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it runs."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` is autocast; the weights stay in float32."""
    attention: Literal["default", "eager"] = "default"
    """The attention of a text model."""
    seed: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Seed of weights and data."""


def check_shape(subject: Subject) -> None:
    """Refuse a random Llama whose heads do not get the same even share of its width; positions rotate pairs.

    Raises:
        InputError: names both options.
    """
    if subject.model == "llama" and subject.hidden % (2 * subject.heads):
        raise InputError(f"--hidden is {subject.hidden}, but must be a multiple of twice --heads, {2 * subject.heads}")


@contextmanager
def task_of(subject: Subject) -> Iterator[Task]:
    """The task, ready for steps; its step size is next to nothing, so that steps do not change what is measured.

    Raises:
        InputError: the model cannot be read, or the device is not there.
    """
    import torch

    from ofmu.engine.loss import Draw
    from ofmu.engine.pace import Pace
    from ofmu.engine.processes import processes
    from ofmu.engine.task import Task
    from ofmu.models.adapters import add_lora

    with processes(device=subject.device, precision=subject.precision, parallel="auto") as ranks:
        torch.manual_seed(subject.seed)
        loaded = _loaded(subject)
        if subject.attention == "eager":
            model: Any = loaded.model
            model.set_attn_implementation("eager")
        if subject.lora:
            loaded = add_lora(loaded, subject.lora)
        make = _texts if loaded.modality == "text" else _images
        data = {name: make(subject, name, loaded) for name in SIDES}
        model = ranks.place(loaded.model.eval())
        everything = tuple(range(subject.batch))
        yield Task(
            model=model,
            parameters={name: p for name, p in model.named_parameters() if p.requires_grad},
            data=data,
            processes=ranks,
            pace=Pace(1e-7, 1000, fixed=True),
            batch_size=subject.batch,
            part_size=subject.batch,
            seed=subject.seed,
            chance=math.log(10),
            watch_forget=Draw(data["forget"], everything),
            watch_retain=Draw(data["retain"], everything),
        )


def _loaded(subject: Subject) -> Loaded:
    from ofmu.models.in_memory import load_in_memory
    from ofmu.models.loading import load
    from ofmu.models.resnet import CifarResNetConfig, CifarResNetForImageClassification

    if subject.model == "resnet20":
        return load_in_memory(CifarResNetForImageClassification(CifarResNetConfig()), "image")
    if subject.model != "llama":
        return load(subject.model)
    from transformers import LlamaConfig, LlamaForCausalLM

    return load_in_memory(
        LlamaForCausalLM(
            LlamaConfig(
                hidden_size=subject.hidden,
                num_hidden_layers=subject.layers,
                num_attention_heads=subject.heads,
                intermediate_size=subject.intermediate,
                vocab_size=subject.vocabulary,
                max_position_embeddings=max(subject.sequence, 64),
                pad_token_id=None,
            )
        ),
        "text",
    )


def _texts(subject: Subject, name: str, loaded: Loaded) -> Encoded:
    """A batch of random tokens."""
    from ofmu.benchmarks.random_texts import random_texts

    vocabulary = int(vars(loaded.model.config)["vocab_size"])
    return random_texts(name, seed=subject.seed, batch=subject.batch, sequence=subject.sequence, vocabulary=vocabulary)


def _images(subject: Subject, name: str, loaded: Loaded) -> Encoded:
    """A batch of random 32 × 32 pictures."""
    import numpy as np

    from ofmu.data.examples import ImageExamples
    from ofmu.data.images import Normalise, encode_images

    draw = np.random.Generator(np.random.Philox([subject.seed, SIDES.index(name)]))
    ids = tuple(f"{name}-{n}" for n in range(subject.batch))
    pixels = draw.integers(0, 256, size=(subject.batch, 32, 32, 3), dtype=np.uint8)
    labels = draw.integers(0, loaded.num_classes or 10, size=subject.batch)
    examples = ImageExamples(ids, ids, pixels, labels, None, name)
    return encode_images(examples, Normalise((0.5,) * 3, (0.25,) * 3), num_classes=loaded.num_classes or 10)
