"""Tasks made by hand around tiny models, without files and folders."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from ofmu.data.examples import ImageExamples
from ofmu.data.formats import read
from ofmu.data.images import ImageSet, Normalise, encode_images
from ofmu.data.tokens import TokenSet, encode_text
from ofmu.engine.levels import Levels
from ofmu.engine.loss import Draw
from ofmu.engine.method import Method
from ofmu.engine.pace import Pace
from ofmu.engine.processes import Processes
from ofmu.engine.task import Task
from ofmu.runs.reference import reference_sums
from toys import facts, pictures, secrets, tokenizer


def texts(rows: list[dict[str, str]]) -> TokenSet:
    return encode_text(read(rows), tokenizer(), max_length=96)


def images(name: str, count: int) -> ImageSet:
    pixels, labels = pictures(count, len(name))
    ids = tuple(f"{name}-{n}" for n in range(count))
    return encode_images(
        ImageExamples(ids, ids, pixels, labels.astype(np.int64), None, name), Normalise((0.3,), (0.3,)), num_classes=10
    )


def sets(modality: str) -> dict[str, Any]:
    """Forget and retain examples; neither count is a multiple of a batch."""
    if modality == "text":
        return {"forget": texts(secrets()), "retain": texts(facts(range(9)))}
    return {"forget": images("forget", 7), "retain": images("retain", 9)}


def _levels(forget: Any) -> Levels:
    """3 nats for the first example, 4 for the second …; tokens spread evenly around it."""
    by_id = {i: 3.0 + k for k, i in enumerate(forget.ids)}
    tokens = {i: np.linspace(0.5, 1.5, int(n)) * by_id[i] for i, n in zip(forget.ids, forget.counts)}
    return Levels(by_id, "holdout", tokens)


def make_task(
    model: nn.Module,
    ranks: Processes,
    *,
    modality: str = "text",
    method: Method | None = None,
    learning_rate: float = 1e-2,
    batch_size: int = 5,
    part_size: int = 2,
    **more: Any,
) -> Task:
    """A task of twenty steps whose forget examples are to come to losses of 3 nats and more."""
    data = sets(modality)
    reference = None
    if method is not None and method.needs_reference_model() and "adapter_off" not in more:
        reference = ranks.place(copy.deepcopy(model)).requires_grad_(False)
    placed = ranks.place(model)
    parameters = {name: p for name, p in ranks.unwrap(placed).named_parameters() if p.requires_grad}
    task = Task(
        model=placed,
        parameters=parameters,
        data=data,
        processes=ranks,
        pace=Pace(learning_rate, 20, fixed=True),
        batch_size=batch_size,
        part_size=part_size,
        seed=1,
        chance=math.log(10),
        watch_forget=Draw(data["forget"], tuple(range(len(data["forget"])))),
        watch_retain=Draw(data["retain"], tuple(range(len(data["retain"])))),
        levels=_levels(data["forget"]),
        reference_model=reference,
        **more,
    )
    task.reference_sums = partial(reference_sums, task, None, "tiny")
    return task
