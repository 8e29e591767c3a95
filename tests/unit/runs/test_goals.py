"""Levels of a run: from which examples, dealt by whose difficulty, and what a base model corrects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ofmu.data.formats import read
from ofmu.data.halves import deal, steer_report
from ofmu.engine.levels import Floats
from ofmu.engine.loss import Draw
from ofmu.runs.goals import make_levels
from ofmu.runs.inputs import Sets
from tasks import texts
from toys import facts, secrets, unseen


def sets(*, holdout: bool = True, removed: bool = False) -> Sets:
    rows = {"forget": secrets(), "retain": facts(range(9))} | ({"holdout": unseen()} if holdout else {})
    examples = {name: read(found) for name, found in rows.items()}
    encoded = {name: texts(found) for name, found in rows.items()}
    watched = [name for name in ("holdout", "retain") if name in rows]
    dealt = deal(*(encoded[name].clusters for name in watched))
    halves = {name: steer_report(encoded[name].clusters, dealt) for name in watched}
    classes = torch.tensor([True, False]) if removed else None
    return Sets(examples, encoded, halves, classes, lambda found: _encoded(found), dealt)


def _encoded(found):
    from ofmu.data.tokens import encode_text
    from toys import tokenizer

    return encode_text(found, tokenizer(), max_length=96)


class Known:
    """Token losses by id: all tokens of an example have the same one; keeps what it was asked."""

    def __init__(self, by_id: dict[str, float]) -> None:
        self.by_id, self.asked = by_id, []

    def __call__(self, draw: Draw) -> list[Floats]:
        ids = [draw.data.ids[i] for i in draw.indices]
        self.asked.append(ids)
        counts = [int(draw.data.counts[i]) for i in draw.indices]
        return [np.full(count, self.by_id.get(i, 9.0)) for i, count in zip(ids, counts, strict=True)]


FORGET = [row["id"] for row in secrets()]
BEFORE = {i: 0.1 * (k + 1) for k, i in enumerate(FORGET)} | {f"new-{n}": 4.0 + n for n in range(6)}


def test_without_a_base_model_difficulty_is_that_of_the_model_before_and_only_the_steering_half_sets_levels() -> None:
    found, before = sets(), Known(BEFORE)
    levels = make_levels(found, found.encode, before, seed=0)
    assert levels is not None
    assert levels.source == "holdout"
    steering = [found.encoded["holdout"].ids[i] for i in found.half("holdout", "steer", seed=0)]
    assert 0 < len(steering) < 6
    assert sorted(before.asked, key=len) == sorted([FORGET, steering], key=len)
    values = [BEFORE[i] for i in steering]
    by_hand = [float(np.quantile(values, (k + 0.5) / 4)) for k in range(4)]  # the k-th easiest has the k-th quantile
    assert [levels.by_id[i] for i in FORGET] == pytest.approx(by_hand)


def test_with_a_base_model_its_difficulty_deals_and_its_difference_shifts() -> None:
    """The base model finds the forget set in the other order, and easier than the holdout by 1.5 nats on average."""
    found, before = sets(), Known(BEFORE)
    base = Known({i: 6.0 - k for k, i in enumerate(FORGET)} | {f"new-{n}": 6.0 for n in range(6)})
    levels = make_levels(found, found.encode, before, seed=0, base=base)
    assert levels is not None
    values = [BEFORE[found.encoded["holdout"].ids[i]] for i in found.half("holdout", "steer", seed=0)]
    by_hand = [float(np.quantile(values, (3 - k + 0.5) / 4)) - 1.5 for k in range(4)]
    assert [levels.by_id[i] for i in FORGET] == pytest.approx(by_hand)
    assert FORGET not in before.asked  # the model before is asked for the level alone
    plain = make_levels(found, found.encode, before, seed=0, base=Known(dict.fromkeys([*FORGET, *BEFORE], 2.0)))
    assert plain is not None
    assert min(plain.tokens[FORGET[0]]) >= 0
    assert sum(levels.by_id.values()) == pytest.approx(sum(plain.by_id.values()) - 4 * 1.5)


def test_without_a_holdout_swapped_answers_set_the_level_and_whole_classes_have_none() -> None:
    found = sets(holdout=False)
    levels = make_levels(found, found.encode, Known(BEFORE), seed=0)
    assert levels is not None
    assert levels.source == "swapped answers"
    assert set(levels.by_id) == set(FORGET)
    assert make_levels(sets(removed=True), found.encode, Known(BEFORE), seed=0) is None
