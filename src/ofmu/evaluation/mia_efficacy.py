"""MIA-efficacy: the share of the forget images that a membership attack takes for never seen.

The attack is fitted on images whose truth is known (members from the retain set, non-members from the test set) and
then asked about the forget set. Scores a(z) are oriented as everywhere: high means "unlikely to have been trained on".

Source: METRICS.md §8, fault F23; Fan et al. 2024 (SalUn, arXiv 2310.12508) for the parity form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ofmu.evaluation.statistics import Floats

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Threshold:
    """An attack by threshold: seen if a(z) ≤ ``cut``.

    Args:
        cut: between two scores that occur, or ±∞.
        balanced_accuracy: on the images that it was fitted on; .5 tells nothing apart.
    """

    cut: float
    balanced_accuracy: float

    def unseen(self, scores: Floats) -> Bools:
        """Whether each image is taken for never seen."""
        return scores > self.cut


def fit_threshold(members: Floats, non_members: Floats) -> Threshold:
    """The threshold of greatest balanced accuracy; of several the middle one, halfway between neighbouring scores.

    Args:
        members: a(z) of images that were trained on.
        non_members: a(z) of images that were not.

    >>> found = fit_threshold(np.array([-0.9, -0.8]), np.array([-0.7, -0.6]))  # a(z) = −confidence
    >>> found.cut, found.balanced_accuracy, found.unseen(np.array([-0.95, -0.65])).mean().item()
    (-0.75, 1.0, 0.5)
    """
    values = np.unique(np.concatenate([members, non_members]))
    cuts = np.concatenate([[-np.inf], (values[:-1] + values[1:]) / 2, [np.inf]])
    seen = np.searchsorted(np.sort(members), cuts, side="right") / len(members)
    wrong = np.searchsorted(np.sort(non_members), cuts, side="right") / len(non_members)
    accuracy = 0.5 * (1 + (seen - wrong))  # exactly ½ where nothing is told apart
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)
    chosen = best[(len(best) - 1) // 2]
    return Threshold(float(cuts[chosen]), float(accuracy[chosen]))


def class_matched(
    forget: Ints, members: Ints, non_members: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints, tuple[int, ...]]:
    """Random subsets of members and non-members with the class shares of the forget set, both of one size.

    As large as the rarest class allows. A class that no member has (it is forgotten as a whole) is stood for by members
    of any class, its non-members by images of that class: the attack has then seen it as a non-member.

    Args:
        forget: (n_f,), labels of D_f.
        members: (n_r,), labels to draw members from.
        non_members: (n_t,), labels to draw non-members from.
        rng: draws.

    Returns:
        Positions of the members and of the non-members, and the classes that the non-members lack and that are
        therefore left out.
    """
    classes, counts = np.unique(forget, return_counts=True)
    there = np.array([(non_members == label).sum() for label in classes])
    kept = np.array([(members == label).sum() for label in classes])
    lacking = tuple(int(label) for label in classes[there == 0])
    usable = there > 0
    if not usable.any() or not len(members):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), lacking
    gone = kept == 0
    room = np.where(gone, there, np.minimum(there, kept))
    scale = (room / counts)[usable].min()
    scale = min(scale, len(members) / counts[usable].sum())
    wanted = np.where(usable, np.clip(np.floor(scale * counts + 1e-9), 1, room), 0).astype(np.int64)
    outside = [
        rng.choice(np.flatnonzero(non_members == label), size=size, replace=False)
        for label, size in zip(classes, wanted)
    ]
    inside = [
        rng.choice(np.flatnonzero(members == label), size=size, replace=False)
        for label, size in zip(classes, np.where(gone, 0, wanted))
    ]
    taken = np.concatenate(inside)
    others = np.setdiff1d(np.arange(len(members)), taken)
    stand_ins = rng.choice(others, size=min(int(wanted[gone].sum()), len(others)), replace=False)
    return np.sort(np.concatenate([taken, stand_ins])), np.sort(np.concatenate(outside)), lacking


def salun_unseen(members: Floats, non_members: Floats, forget: Floats) -> Bools:
    """``parity:salun``: a support-vector classifier in the place of a threshold.

    RBF kernel, C = 3, γ = 1/#features = 1, trained on one feature: members are the first |D_t| retain images in stored
    order, whatever their classes (fault F23), non-members all test images.

    Args:
        members: the feature of the retain images, in stored order; those beyond |D_t| are not used.
        non_members: the feature of the test images.
        forget: the feature of the forget images.

    Returns:
        Whether each forget image is taken for never seen.

    Raises:
        ValueError: fewer retain images than test images.
    """
    from sklearn.svm import SVC

    if len(members) < len(non_members):
        raise ValueError(f"{len(members)} members for {len(non_members)} non-members; at least as many are needed")
    values = np.concatenate([members[: len(non_members)], non_members])
    seen = np.repeat([True, False], len(non_members))
    attacker = SVC(C=3, gamma="auto", kernel="rbf").fit(values[:, None], seen)
    return ~np.asarray(attacker.predict(forget[:, None]), dtype=bool)
