from __future__ import annotations

import numpy as np
import pytest

from ofmu.evaluation.attack import Attacked, Compared
from ofmu.evaluation.attacks.probe import Probe, fit
from ofmu.evaluation.records import Records
from ofmu.evaluation.residual_stream import features
from tasks import images
from toys import convnet


def cloud(shift: float, seed: int = 0, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two clouds of points in five dimensions, a shift apart in one; clusters of three."""
    draw = np.random.default_rng(seed)
    y = np.repeat([0, 1], count // 2)
    x = draw.normal(size=(count, 5))
    x[:, 2] += shift * y
    return x, y, np.array([f"c{k // 3}" for k in range(count)])


def test_a_difference_is_found_and_none_is_not():
    x, y, groups = cloud(3.0)
    probe, fold, _ = fit(x, y, groups)
    fresh, labels, _ = cloud(3.0, seed=1)
    assert fold > 0.95
    assert probe.score(fresh, labels) > 0.9
    assert abs(fit(*cloud(0.0))[1] - 0.5) < 0.2


def test_many_noise_dimensions_ask_for_a_stronger_penalty():
    x, y, groups = cloud(1.0)
    wide = np.concatenate([x, np.random.default_rng(2).normal(size=(60, 300))], axis=1)
    assert fit(wide, y, groups)[2] < fit(*cloud(4.0))[2] or fit(wide, y, groups)[2] <= 1e-2


def test_clusters_do_not_leak_into_the_folds():
    """Each cluster has a place of its own and one label: folds by example would tell them apart."""
    draw = np.random.default_rng(0)
    places = draw.normal(size=(20, 40)) * 5
    groups = np.repeat(np.arange(20), 4)
    x = places[groups] + draw.normal(size=(80, 40)) * 0.01
    y = (groups % 2).astype(int)
    assert fit(x, y, groups)[1] < 0.9


def test_one_cluster_a_class_is_fitted_without_folds():
    x, y, _ = cloud(3.0)
    probe, fold, strength = fit(x, y, np.array([f"c{label}" for label in y]))
    assert np.isnan(fold)
    assert strength == 1
    assert probe.score(x, y) > 0.9


def test_features_of_a_classifier_are_what_its_head_is_given():
    import torch

    model, data = convnet(), images("probe", 9)
    found = features(model, data, batch_size=4, device="cpu")
    assert found.shape[:2] == (1, 9)
    head = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.no_grad():
        logits = model(data.batch(range(9)).pixel_values).logits
        assert torch.allclose(head(torch.from_numpy(found[0])), logits, atol=1e-5)
    assert all(not module._forward_pre_hooks for module in model.modules())


def facts(forget: list[float], holdout: list[float], **more) -> Attacked:
    clusters = [[f"f{k}" for k in range(len(forget))], [f"h{k}" for k in range(len(holdout))]]
    return Attacked(
        {
            "layer": 0,
            "folds": [0.9],
            "scores": [[forget, holdout]],
            "shuffled": 0.5,
            "clusters": clusters,
            "against": "holdout",
            **more,
        }
    )


def test_models_are_compared_at_the_unlearned_models_layer():
    low, high = [0.0] * 10, [1.0] * 10
    attacked = {"unlearned": facts(high, low), "retrained": facts(low, low), "base": facts(low, high)}
    (figure,) = Probe().compare(attacked, Compared(Records())).figures
    assert figure.after == {"unlearned": 1.0, "retrained": 0.5, "base": 0.0}
    assert figure.gap == 0.5
    assert figure.gap_interval == pytest.approx((0.5, 0.5))
    assert figure.details["above_base"] == 1.0
    assert figure.details["above_shuffled"]["unlearned"] == 0.5
    assert figure.variant == "layer 1 of 1, against holdout"
