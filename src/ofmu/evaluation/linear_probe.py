"""A linear probe: a standardised ridge-logistic classifier of hidden states, its penalty chosen by whole clusters.

Legend: L layers, n examples, d the width of a layer.

Source: METRICS.md §12 (probe).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ofmu.evaluation import statistics

STRENGTHS = tuple(10.0**k for k in range(-4, 2))
"""1/λ of the ridge penalty, from strong to weak; the strongest of equals is taken."""

FOLDS = 5
SHUFFLES = 5
"""Probes on shuffled labels that make the control."""


@dataclass(frozen=True, eq=False)
class Layers:
    """A probe of every layer.

    Args:
        probes: L classifiers.
        folds: (L,) the mean score of each one's folds; NaN where there were none.
        strengths: (L,) 1/λ.
    """

    probes: tuple[Pipeline, ...]
    folds: tuple[float, ...]
    strengths: tuple[float, ...]

    @property
    def best(self) -> int:
        """The layer that the folds speak for, the first of equals."""
        return int(np.nan_to_num(self.folds).argmax())


def fit_layers(states: np.ndarray, y: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> Layers:
    """:func:`fit` on every layer.

    Args:
        states: (L, n, d).
        y: (n,) labels.
        groups: (n,) clusters.
        seed: of the folds.
    """
    return Layers(*zip(*(fit(x, y, groups, seed=seed) for x in states)))


def fit(x: np.ndarray, y: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> tuple[Pipeline, float, float]:
    """A standardised ridge-logistic classifier, its penalty by folds of whole groups.

    Args:
        x: (n, d).
        y: (n,) labels, two or more classes.
        groups: (n,) clusters; one is never in two folds.
        seed: of the folds.

    Returns:
        The classifier trained on all of it, the mean of the folds' scores (AUC for two classes, else accuracy; NaN
        where there are too few groups for folds: then λ = 1), and 1/λ.
    """
    folds = min(FOLDS, *(len(set(groups[y == label].tolist())) for label in np.unique(y)))
    scores = {c: float("nan") for c in STRENGTHS}
    if folds >= 2:
        splits = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(x, y, groups))
        splits = [(train, test) for train, test in splits if _usable(y, train, test)]
        for c in STRENGTHS if splits else ():
            scores[c] = float(np.mean([_score(fitted(x[a], y[a], c), x[b], y[b]) for a, b in splits]))
    best = 1.0 if np.isnan(list(scores.values())).all() else max(scores, key=lambda c: (scores[c], -c))
    return fitted(x, y, best), scores[best], best


def fitted(x: np.ndarray, y: np.ndarray, strength: float) -> Pipeline:
    """The classifier with 1/λ = ``strength``."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a probe that is nearly there is a probe
        return pipeline.fit(x.astype(np.float64), y)


def right(probe: Pipeline, x: np.ndarray, y: np.ndarray) -> statistics.Floats:
    """1 where the probe gives the label, 0 elsewhere: (n,)."""
    return (probe.predict(x.astype(np.float64)) == y).astype(np.float64)


def _usable(y: np.ndarray, train: np.ndarray, test: np.ndarray) -> bool:
    """Whether all classes can be learnt there, and an AUC be taken."""
    classes = len(set(y))
    return len(set(y[train])) == classes and (classes > 2 or len(set(y[test])) == classes)


def _score(probe: Pipeline, x: np.ndarray, y: np.ndarray) -> float:
    if len(probe.classes_) > 2:
        return float(right(probe, x, y).mean())
    z = probe.decision_function(x.astype(np.float64))
    return statistics.auc(-z[y == 1], -z[y == 0])
