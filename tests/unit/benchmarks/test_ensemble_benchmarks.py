"""U-LiRA and KLoM on digits, tiny: exact unlearning is a coin and has no excess; results are plain."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ofmu.benchmarks import digits, klom, ulira
from ofmu.benchmarks.plain import plain
from ofmu.errors import InputError


def test_the_pool_is_scikit_learns_digits_in_another_order():
    images, target = load_digits(return_X_y=True)
    pool = digits.pool(0)
    where = [int(name.removeprefix("digit-")) for name in pool.ids]
    assert sorted(where) == list(range(1797))
    assert np.array_equal(pool.pixels.reshape(-1, 64), images[where] * 15)
    assert np.array_equal(pool.labels, target[where])
    assert digits.pool(0).fingerprint == pool.fingerprint != digits.pool(1).fingerprint


def test_wrong_labels_are_wrong_and_all_others_right():
    right, wrong = digits.pool(0), digits.pool(0, mislabelled=100)
    assert right.ids == wrong.ids
    assert (right.labels[:100] != wrong.labels[:100]).all()
    assert np.array_equal(right.labels[100:], wrong.labels[100:])
    assert set(np.unique(wrong.labels)) == set(range(10))


def test_parts_are_disjoint_and_too_many_are_refused():
    found = digits.parts(10, a=3, b=0, c=7)
    assert {name: where.tolist() for name, where in found.items()} == {
        "a": [0, 1, 2],
        "b": [],
        "c": [3, 4, 5, 6, 7, 8, 9],
    }
    with pytest.raises(InputError, match="a 3, b 8 are 11 images, but there are 10"):
        digits.parts(10, a=3, b=8)


def test_retraining_is_a_coin_to_u_lira():
    """Real networks: whatever arm an example is in, a retrained model has never seen it."""
    told: list[str] = []
    options = ulira.Options(method="retrain", shadows=8, targets=100, retain=60, holdout=0, steps=20)
    found = ulira.run(options, told.append)
    assert found["unlearned"]["balanced_accuracy"] == pytest.approx(0.5, abs=0.08)
    assert found["unlearned"]["values"] == 800
    assert found["trained"] is None
    assert len(told) == 8
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_klom_on_a_few_models_warns_of_its_null():
    options = klom.Options(method="grad_ascent", models=2, forget=20, retain=40, validation=20, steps=3, budget=2)
    found = klom.run(options)
    assert set(found["unlearned"]) == {"forget", "retain", "validation"}
    assert found["unlearned"]["forget"]["models"] == 2
    assert found["unlearned"]["forget"]["points"] == 20
    assert "too few for histograms" in found["note"]
    assert found["options"]["method"] == "grad_ascent"
    json.dumps(found, allow_nan=False)


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="shadows is 3"):
        ulira.run(ulira.Options(shadows=3))
    with pytest.raises(InputError, match="must be even"):
        ulira.run(ulira.Options(targets=21))
    with pytest.raises(InputError, match="models is 1"):
        klom.run(klom.Options(models=1))


def test_plain_has_a_word_for_everything():
    assert plain({0.01: float("inf"), "a": ((1, 2.0), None)}) == {"0.01": None, "a": [[1, 2.0], None]}
