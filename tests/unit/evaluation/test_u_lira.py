"""U-LiRA on simulated margins: what it must find, and what it must not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from ofmu.evaluation.u_lira import OUTSIDE, Normals, attack, crossfit, fit, log_ratio


def pairs(rng: np.random.Generator, models: int, examples: int) -> tuple[np.ndarray, list[int]]:
    """Complementary arms, and the pair of each model."""
    halves = [rng.permutation(np.arange(examples) % 2) for _ in range(models // 2)]
    arm = np.stack([row for half in halves for row in (half, 1 - half)]).astype(np.int8)
    return arm, [number // 2 for number in range(models)]


def simulated(shift, models: int = 16, examples: int = 200, seed: int = 0):
    """φ ~ N(difficulty of the example + shift in arm 1, 1)."""
    rng = np.random.default_rng(seed)
    arm, folds = pairs(rng, models, examples)
    phi = rng.normal(size=(models, examples)) + rng.normal(0, 3, size=examples) + shift * arm
    return phi, arm, folds


def attacked(shift, **more):
    phi, arm, folds = simulated(shift, **more)
    return attack(crossfit(phi, arm, folds), arm, folds)


def test_the_worked_example():
    one = np.ones(1)
    assert log_ratio(np.array([2.0]), Normals(2.5 * one, one, 0.5 * one, one)).tolist() == [1.0]


def test_log_ratio_is_the_difference_of_log_densities_and_stays_finite_far_out():
    rng = np.random.default_rng(0)
    means, sds, phi = rng.normal(size=(2, 50)), rng.uniform(0.5, 2, size=(2, 50)), rng.normal(size=(3, 50)) * 5
    found = log_ratio(phi, Normals(means[0], sds[0], means[1], sds[1]))
    assert found == pytest.approx(norm.logpdf(phi, means[0], sds[0]) - norm.logpdf(phi, means[1], sds[1]), abs=1e-9)
    one = np.ones(1)
    far = log_ratio(np.array([1e4]), Normals(one, one, 0 * one, one))  # both densities underflow
    assert far[0] == pytest.approx(1e4 - 0.5)


def test_an_arm_of_sixteen_values_has_a_variance_of_its_own_a_smaller_one_that_of_all():
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(20, 3)) * np.array([1.0, 2.0, 4.0]) + np.array([0.0, 10.0, -10.0])
    arm = np.zeros((20, 3), np.int8)
    arm[:4] = 1
    arm[4, 0] = OUTSIDE
    found = fit(phi, arm)
    assert found.mean_0[0] == pytest.approx(phi[5:, 0].mean())
    assert found.sd_0[1] == pytest.approx(phi[4:, 1].std(ddof=1))  # 16 values
    assert found.sd_0[0] != pytest.approx(phi[5:, 0].std(ddof=1))  # 15 values
    within = phi[:4] - phi[:4].mean(axis=0)
    assert found.sd_1 == pytest.approx(np.full(3, np.sqrt((within**2).sum() / 9)))


def test_exact_unlearning_is_a_coin():
    found = [attacked(0.0, seed=seed).balanced_accuracy for seed in range(8)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.012)
    single = attacked(0.0)
    low, high = single.interval
    assert low < 0.5 < high
    assert single.auc == pytest.approx(0.5, abs=0.03)


def test_a_shift_of_two_deviations_is_found_as_often_as_theory_says():
    found = attacked(2.0, models=64)
    assert found.balanced_accuracy == pytest.approx(norm.cdf(1.0), abs=0.02)  # the two normals known: .841
    assert found.auc == pytest.approx(norm.cdf(np.sqrt(2)), abs=0.02)
    assert found.tpr[0.01] == pytest.approx(norm.cdf(2 - norm.ppf(0.99)), abs=0.06)
    assert found.advantage == pytest.approx(2 * (found.balanced_accuracy - 0.5))


def test_the_average_hides_the_exposed_few_and_the_quantiles_show_them():
    shift = np.where(np.arange(200) < 10, 4.0, 0.0)
    found = attacked(shift, models=32)
    assert found.balanced_accuracy < 0.56
    assert found.per_example[:10].min() > 0.85
    assert found.as_dict()["example_quantiles"]["0.5"] < 0.6
    assert found.as_dict()["example_quantiles"]["1"] > 0.9


def test_single_models_as_folds_look_worse_than_a_coin():
    """Why models are attacked in complementary pairs: the own arm would always be one value short."""
    singly = []
    for seed in range(8):
        phi, arm, folds = simulated(0.0, models=6, examples=400, seed=seed)
        alone = list(range(len(folds)))
        singly.append(attack(crossfit(phi, arm, alone), arm, alone).balanced_accuracy)
    assert np.mean(singly) < 0.485


def test_what_is_in_neither_arm_does_not_count_and_what_has_no_ratio_is_listed():
    phi, arm, folds = simulated(1.0, models=8, examples=20)
    arm[:, 3] = OUTSIDE
    phi[0, 5] = np.nan
    ratios = crossfit(phi, arm, folds)
    assert np.isnan(ratios[:, 3]).all()
    found = attack(ratios, arm, folds, ids=[f"z{n}" for n in range(20)])
    assert found.undefined == ("z3", "z5")  # a broken value leaves no normal to the other folds
    assert np.isnan(found.per_example[[3, 5]]).all()
    assert found.values == 18 * 8
    assert np.isfinite(found.balanced_accuracy)


def test_tpr_is_not_given_where_there_are_too_few_values():
    found = attacked(1.0, models=4, examples=30)  # 60 values of arm 0
    assert np.isnan(found.tpr[0.01])
    assert attacked(1.0, models=4, examples=6).interval is None  # fewer than eight clusters


def test_a_bijection_of_examples_and_of_models_changes_nothing():
    phi, arm, folds = simulated(1.0)
    found = attack(crossfit(phi, arm, folds), arm, folds)
    examples, models = np.random.default_rng(3).permutation(200), np.random.default_rng(4).permutation(16)
    moved_phi, moved_arm = phi[models][:, examples], arm[models][:, examples]
    moved = [folds[number] for number in models]
    again = attack(crossfit(moved_phi, moved_arm, moved), moved_arm, moved)
    assert again.balanced_accuracy == pytest.approx(found.balanced_accuracy)
    assert again.auc == pytest.approx(found.auc)
    assert again.spread == pytest.approx(found.spread)
