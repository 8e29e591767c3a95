"""What derivatives are measured on: a model with one batch of each side, in the user's precision or in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ofmu.errors import InputError
from ofmu.ranges import Range

if TYPE_CHECKING:
    from ofmu.core.problem import Problem
    from ofmu.engine.work import Work


SIDES = ("forget", "retain")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and its two batches."""

    model: str | None = None
    """Folder or hub name of a model; left out: a random Llama of 7 million parameters."""
    forget: str | None = None
    """Examples to forget; left out: random tokens (random pictures for a model of images)."""
    retain: str | None = None
    """Examples to keep, likewise."""
    batch: Annotated[int, Range(ge=2, le=4096)] = 8
    """Examples of a batch: the first of each set; fewer where a set has fewer."""
    sequence: Annotated[int, Range(ge=4, le=8192)] = 64
    """Tokens of a random example."""
    lora: Annotated[int, Range(ge=0, le=1024)] = 0
    """Rank of a LoRA adapter to differentiate by in place of all weights; 0 for none."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it runs."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` is autocast over float32 weights."""
    seed: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Of random weights and data."""


@dataclass(frozen=True)
class Material:
    """A loaded model, and the encoded examples of both sides."""

    loaded: Any
    data: dict[str, Any]

    def batch(self, asked: int) -> int:
        """Examples of a batch of each side: no more than the smaller set has.

        Raises:
            InputError: a set is too small for half a batch.
        """
        name = min(SIDES, key=lambda side: len(self.data[side].ids))
        size = min(asked, len(self.data[name].ids))
        if size < 2:
            raise InputError(f"the {name} set has {size} examples to score; half a batch needs 2")
        return size


def material(subject: Subject) -> Material:
    """Read the model and the data, or make them.

    Raises:
        InputError: something cannot be read, or only one of the two sets is given.
    """
    import torch

    from ofmu.models.adapters import add_lora
    from ofmu.models.loading import load

    if (subject.forget is None) != (subject.retain is None):
        raise InputError("--forget and --retain go together: give both or neither")
    if subject.forget is not None and subject.model is None:
        raise InputError("--forget needs --model: the random model has no tokenizer")
    with torch.random.fork_rng():
        torch.manual_seed(subject.seed)
        loaded = _random_llama(subject) if subject.model is None else load(subject.model)
        if subject.lora:
            loaded = add_lora(loaded, subject.lora)
            _fill(loaded.model)
    return Material(loaded, {name: _examples(subject, loaded, name) for name in SIDES})


@contextmanager
def problem_of(found: Material, subject: Subject, *, double: bool = False) -> Iterator[tuple[Problem, Work]]:
    """The losses of the two batches, with half of each as ``part``; for the referee in float64, without autocast."""
    from ofmu.core.problem import Problem
    from ofmu.engine.loss import BatchLoss, Draw
    from ofmu.engine.pace import Pace
    from ofmu.engine.processes import processes
    from ofmu.engine.work import Work
    from ofmu.losses import nll

    with processes(device=subject.device, precision="fp32" if double else subject.precision, parallel="auto") as ranks:
        model = ranks.place(copy.deepcopy(found.loaded.model).double() if double else found.loaded.model).eval()
        work = Work(
            model=model,
            parameters={name: p for name, p in model.named_parameters() if p.requires_grad},
            data=found.data,
            processes=ranks,
            pace=Pace(1e-7, 1000, fixed=True),
            batch_size=subject.batch,
            part_size=subject.batch,
            seed=subject.seed,
        )

        def loss(name: str, share: float) -> BatchLoss:
            count = int(share * min(subject.batch, len(found.data[name].ids)))
            return work.loss(lambda rows, _: nll(rows), Draw(work.data[name], tuple(range(count))), "tokens")

        buffers = dict(model.named_buffers())
        half = Problem(work.parameters, loss("forget", 0.5), loss("retain", 0.5), buffers)
        yield Problem(work.parameters, loss("forget", 1.0), loss("retain", 1.0), buffers, half), work


def _examples(subject: Subject, loaded: Any, name: str) -> Any:
    from ofmu.data.formats import read
    from ofmu.runs.inputs import encoder

    given = subject.forget if name == "forget" else subject.retain
    if given is None:
        return _random_texts(subject, name, loaded) if loaded.modality == "text" else _random_images(subject, name)
    return encoder(loaded, None)(read(given, name=name))


def _random_llama(subject: Subject) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    from ofmu.models.in_memory import load_in_memory

    config = LlamaConfig(
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=8,
        intermediate_size=704,
        vocab_size=4096,
        max_position_embeddings=max(subject.sequence, 64),
        pad_token_id=None,
    )
    return load_in_memory(LlamaForCausalLM(config), "text")


def _fill(model: Any) -> None:
    """An adapter as it is after some steps: at its start half of its factors are 0, and so is most of its Hessian."""
    import torch

    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad and "lora_B" in name:
                p.normal_(std=0.01)


def _random_texts(subject: Subject, name: str, loaded: Any) -> Any:
    """A batch of random tokens."""
    from ofmu.benchmarks.random_texts import random_texts

    vocabulary = int(vars(loaded.model.config)["vocab_size"])
    return random_texts(name, seed=subject.seed, batch=subject.batch, sequence=subject.sequence, vocabulary=vocabulary)


def _random_images(subject: Subject, name: str) -> Any:
    import numpy as np

    from ofmu.data.examples import ImageExamples
    from ofmu.data.images import Normalise, encode_images

    draw = np.random.Generator(np.random.Philox([subject.seed, SIDES.index(name)]))
    ids = tuple(f"{name}-{n}" for n in range(subject.batch))
    pixels = draw.integers(0, 256, size=(subject.batch, 32, 32, 3), dtype=np.uint8)
    labels = draw.integers(0, 10, size=subject.batch)
    return encode_images(
        ImageExamples(ids, ids, pixels, labels, None, name), Normalise((0.5,) * 3, (0.25,) * 3), num_classes=10
    )
