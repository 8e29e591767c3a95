"""Ensembles: who is in which arm, what is kept on disk, and that both modalities run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import toys
from ofmu.data.formats import read
from ofmu.errors import InputError
from ofmu.runs.ensembles import making
from ofmu.runs.ensembles.oracles import oracles_and_unlearned
from ofmu.runs.ensembles.recipe import RETRAIN, Material, Recipe
from ofmu.runs.ensembles.shadows import complementary, shadow_models

TRAINING = {"steps": 2, "batch_size": 8, "learning_rate": 1e-3}


def recipe(method: Any = "grad_ascent", **training: Any) -> Recipe:
    return Recipe(toys.convnet, {**TRAINING, **training}, method, {"steps": 1, "batch_size": 8, "learning_rate": 1e-4})


def material(**points: Any) -> Material:
    images, labels = toys.pictures(60, 0)
    pool = read([(image, int(label)) for image, label in zip(images, labels)])
    return Material(pool, {name: np.asarray(where) for name, where in points.items()}, holdout=np.arange(50, 60))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many trainings and unlearnings there were."""
    counted: Counter[str] = Counter()
    for name in ("finetune", "unlearn"):
        real = getattr(making, name)

        def counting(*given: Any, real: Any = real, name: str = name, **more: Any) -> Any:
            counted[name] += 1
            return real(*given, **more)

        monkeypatch.setattr(making, name, counting)
    return counted


def shadows(folder, given: Recipe, **more: Any):
    return shadow_models(given, material(), targets=np.arange(20), keep=np.arange(20, 50), folder=folder, **more)


def test_every_target_is_in_each_arm_of_every_pair_and_all_forget_sets_are_of_one_size():
    arm = complementary([str(n) for n in range(30)], 8, seed=0)
    assert arm.shape == (8, 30)
    assert (arm.sum(axis=1) == 15).all()
    assert (arm[::2] + arm[1::2] == 1).all()
    assert len({tuple(row) for row in arm.tolist()}) == 8
    assert (complementary([str(n) for n in range(30)], 4, seed=0) == arm[:4]).all()
    assert (complementary([str(n) for n in range(30)], 8, seed=1) != arm).any()


def test_a_cluster_is_forgotten_as_a_whole():
    clusters = [str(n // 5) for n in range(40)]
    arm = complementary(clusters, 4, seed=0)
    for row in arm:
        assert all(len(set(row[5 * n : 5 * n + 5])) == 1 for n in range(8))


@pytest.mark.parametrize(("clusters", "count", "words"), [(30, 5, "pairs"), (30, 2, "at least 4"), (31, 4, "even")])
def test_designs_without_equal_sizes_are_refused(clusters, count, words):
    with pytest.raises(InputError, match=words):
        complementary([str(n) for n in range(clusters)], count, seed=0)


def test_a_wrong_option_is_found_before_anything_is_trained(tmp_path, calls):
    with pytest.raises(InputError, match="unknown method 'npp'"):
        shadows(tmp_path, recipe("npp"), count=4)
    with pytest.raises(InputError, match="stepz"):
        shadows(tmp_path, recipe(stepz=3), count=4)
    assert not calls


def test_an_ensemble_goes_on_where_it_was_and_takes_over_no_other_recipes_models(tmp_path, calls):
    first = shadows(tmp_path, recipe(), count=4)
    assert calls == {"finetune": 4, "unlearn": 4}
    assert first.unlearned.shape == first.arm.shape == (4, 20)
    assert np.abs(first.unlearned - first.trained).max() > 0
    again = shadows(tmp_path, recipe(), count=4)
    assert calls["finetune"] == 4
    assert (again.unlearned == first.unlearned).all()
    assert again.seconds == first.seconds
    larger = shadows(tmp_path, recipe(), count=6)
    assert calls["finetune"] == 6
    assert (larger.unlearned[:4] == first.unlearned).all()
    shadows(tmp_path, recipe(weight_decay=0.1), count=4)
    assert calls == {"finetune": 10, "unlearn": 10}


def test_a_model_that_was_interrupted_is_made_again_and_is_the_same(tmp_path):
    first = shadows(tmp_path, recipe(), count=4)
    lists = sorted(tmp_path.glob("*.json"))
    lists[0].unlink()  # written last: without it the model is not there
    again = shadows(tmp_path, recipe(), count=4)
    assert (again.unlearned == first.unlearned).all()


def test_retraining_needs_no_unlearning_and_never_sees_the_forget_set(calls):
    found = shadows(None, recipe(RETRAIN), count=4)
    assert calls == {"finetune": 4}
    assert found.trained is None
    assert found.unlearned.shape == (4, 20)


def test_oracles_are_shared_by_methods(tmp_path, calls):
    sets = material(forget=np.arange(10), retain=np.arange(10, 50), validation=np.arange(50, 60))
    where = {"forget": np.arange(10), "retain": np.arange(10, 50), "count": 2, "folder": tmp_path}
    found = oracles_and_unlearned(recipe(), sets, **where)
    assert calls == {"finetune": 6, "unlearn": 2}
    assert {name: values.shape for name, values in found.oracles.items()} == {
        "forget": (4, 10),
        "retain": (4, 40),
        "validation": (4, 10),
    }
    assert found.unlearned["forget"].shape == found.originals["forget"].shape == (2, 10)
    assert len(found.clusters["validation"]) == 10
    other = oracles_and_unlearned(recipe("grad_diff"), sets, **where)
    assert calls == {"finetune": 8, "unlearn": 4}  # two more originals, no more oracles
    assert all((other.oracles[name] == found.oracles[name]).all() for name in found.oracles)
    exact = oracles_and_unlearned(recipe(RETRAIN), sets, **where)
    assert exact.originals is None
    assert exact.seconds["originals"] == 0


def test_language_models_too():
    given = Recipe(
        toys.llama, TRAINING, "grad_ascent", {"steps": 1, "batch_size": 8}, shared={"tokenizer": toys.tokenizer()}
    )
    pool = Material(read(toys.facts(range(12))), {})
    found = shadow_models(given, pool, targets=np.arange(4), keep=np.arange(4, 12), count=4)
    assert found.ids == ("fact-0", "fact-1", "fact-2", "fact-3")
    assert (found.unlearned < 0).all()  # φ = −λ
