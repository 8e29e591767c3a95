"""The average gap of image tables: the worked example, and the score that it becomes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ofmu.evaluation.average_gap import average_gap, score
from ofmu.evaluation.evaluate import as_json, measure
from ofmu.evaluation.metrics import find
from ofmu.evaluation.records import Records

U = {"UA": 5.2, "RA": 99.9, "TA": 93.0, "MIA": 15.0}
R = {"UA": 5.0, "RA": 100.0, "TA": 94.2, "MIA": 12.9}


def test_the_worked_example():
    found = average_gap(U, R)
    assert found.value == pytest.approx(0.90)
    assert found.parts == pytest.approx({"UA": 0.2, "RA": 0.1, "TA": 1.2, "MIA": 2.1})
    assert average_gap(R, R).value == 0
    assert average_gap(U, R).value == average_gap(R, U).value


def records(image_record, *, roles=("unlearned", "retrained")) -> Records:
    """The unlearned model is wrong on a quarter of the forget set, the retrained one on half of it."""
    found = Records()
    for role in roles:
        wrong = {"forget": 10 if role == "unlearned" else 20, "retain": 0, "test": 4}
        for name, count in wrong.items():
            p = np.full(40, 0.9 if name != "test" else 0.7)
            p[:count] = 0.2
            logits = np.log(np.stack([p, 1 - p], axis=1)).tolist()
            found.add(role, name, image_record(logits, [0] * 40, model=role, data=name))
    return found


def test_as_a_score_with_its_four_parts(image_record):
    given = records(image_record)
    found = measure(given, metrics=[find("accuracy"), find("mia_efficacy")])
    total = score(found, given)
    parts = {part["name"]: part for part in total.parts}
    assert list(parts) == ["UA", "RA", "TA", "MIA"]
    assert (parts["UA"]["unlearned"], parts["UA"]["retrained"]) == (25, 50)
    assert parts["RA"]["gap"] == parts["TA"]["gap"] == 0
    assert total.value == pytest.approx(np.mean([abs(part["gap"]) for part in parts.values()]))
    assert total.unit == "points"
    assert total.direction == "down"
    low, high = total.interval
    assert 0 <= low <= total.value <= high
    assert as_json(total)["parts"][0]["name"] == "UA"


def test_without_a_part_there_is_a_reason(image_record):
    given = records(image_record)
    found = score(measure(given, metrics=[find("accuracy")]), given)
    assert math.isnan(found.value)
    assert "mia_efficacy" in found.reason
    alone = records(image_record, roles=("unlearned",))
    assert score({}, alone).reason == "no retrained reference"
