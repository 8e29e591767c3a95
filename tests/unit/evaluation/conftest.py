"""Records made by hand: a text record from token losses, an image record from logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch

from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.scoring import image_facts
from ofmu.losses.rows import Rows


def _text(losses: Mapping[str, Sequence[float]], **given) -> Record:
    """Token losses of each example; ``correct`` and ``content`` default to all true."""
    rows = [(index, loss) for index, values in enumerate(losses.values()) for loss in values]
    counts = [len(values) for values in losses.values()]
    columns = {
        "position": np.concatenate([np.arange(count) for count in counts]).astype(np.int32),
        "nll": np.array([loss for _, loss in rows], dtype=np.float64),
        "z": np.array(given.pop("z", [-loss for _, loss in rows]), dtype=np.float64),
        "correct": np.array(given.pop("correct", [True] * len(rows))),
        "content": np.array(given.pop("content", [True] * len(rows))),
    }
    clusters = given.pop("clusters", tuple(losses))
    example = np.array([index for index, _ in rows], dtype=np.int64)
    sizes = {"zlib_bytes": np.array([float(count) for count in counts])}
    facts = {"model": "m", "data": "d", "facts": sizes} | given
    return Record("text", tuple(losses), tuple(clusters), example, columns, **facts)


def _image(logits: Sequence[Sequence[float]], labels: Sequence[int], **given) -> Record:
    ids = tuple(f"image{index}" for index in range(len(labels)))
    rows = Rows(torch.tensor(logits, dtype=torch.float32), torch.tensor(labels), torch.arange(len(ids)), ids)
    facts = {"model": "m", "data": "d", "classes": len(logits[0])} | given
    return Record("image", ids, facts.pop("clusters", ids), np.arange(len(ids)), image_facts(rows), **facts)


@pytest.fixture(scope="session")
def text_record() -> Callable[..., Record]:
    return _text


@pytest.fixture(scope="session")
def image_record() -> Callable[..., Record]:
    return _image


@pytest.fixture
def story() -> Callable[..., Records]:
    """Records of several models on forget, holdout and retain sets of 40 examples in 10 clusters each.

    Called with role → (mean forget loss, mean retain loss); the holdout is at 5 for everybody. The examples' own
    difficulty is the same for all models, as in real data.
    """

    def build(roles: Mapping[str, tuple[float, float]], *, clusters: int = 10, holdout: bool = True) -> Records:
        rng = np.random.default_rng(0)
        spread = {name: rng.normal(0, 0.1, size=(40, 3)) for name in ("forget", "holdout", "retain")}
        found = Records()
        for role, (forget, retain) in roles.items():
            levels = {"forget": forget, "retain": retain} | ({"holdout": 5.0} if holdout else {})
            for name, level in levels.items():
                values = np.maximum(level * (1 + spread[name]), 0.0)
                losses = {str(index): list(row) for index, row in enumerate(values)}
                groups = [f"{name}{index % clusters}" for index in range(40)]
                correct = list((values < 1).ravel())
                record = _text(losses, clusters=groups, correct=correct, model=role, data=name)
                found.add(role, name, record)
        return found

    return build
