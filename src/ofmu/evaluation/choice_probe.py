"""Whether a linear probe reads the right option of a question from a model that may no longer choose it.

Source: METRICS.md §12 (probe, the four-option answer).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ofmu.data.examples import Examples, TextExamples
from ofmu.data.tokens import TokenSet
from ofmu.evaluation import statistics
from ofmu.evaluation.attack import Figure, Target, figure
from ofmu.evaluation.attacked import mean_gap_interval
from ofmu.evaluation.choices import before_the_letter
from ofmu.evaluation.linear_probe import SHUFFLES, Layers, fit_layers, fitted, right
from ofmu.evaluation.residual_stream import prompt_states

KEPT = ("retain", "holdout", "test")
"""Sets of which nothing was to be forgotten."""


def question_sets(examples: Mapping[str, Examples]) -> list[str]:
    """Multiple-choice questions about what was to be forgotten: the forget set, or sets given beside it."""
    return [name for name, each in examples.items() if each.format == "multiple_choice" and name not in KEPT]


def probe_choices(target: Target, name: str) -> dict[str, Any]:
    """Probe every layer of a model for the right letter, at the last token before it.

    Trained on the steering clusters, block and penalty chosen by folds of whole clusters there, scored on the others.

    Args:
        target: the model.
        name: of :func:`question_sets`.

    Returns:
        As JSON can hold it: ``layer``, ``folds``, ``right`` (layer → 0 or 1 for each reported question),
        ``clusters`` and ``shuffled``, the mean accuracy of probes on shuffled letters; or ``reason``.
    """
    questions = target.examples[name]
    assert isinstance(questions, TextExamples)
    texts, gold = before_the_letter(questions)
    encoded = target.encode(texts)
    assert isinstance(encoded, TokenSet)
    letter = dict(zip(questions.ids, gold.tolist()))
    y = np.array([letter[each] for each in encoded.ids])
    steer, report = (_places(encoded, target.sets[name].ids, half[name]) for half in (target.steer, target.report))
    if set(steer) & set(report) or not report or len(set(y[steer].tolist())) < 2:
        return {
            "reason": f"{name}: too few clusters of questions to train a probe on one half and score it on the other"
        }
    with target.autocast():
        states = prompt_states(target.model, encoded, batch_size=target.batch_size, device=target.device)
    seed = target.seeds[0]
    groups = np.array(encoded.clusters)[steer]
    layers = fit_layers(states[:, steer], y[steer], groups, seed=seed)
    best = layers.best
    return {
        "layer": best,
        "folds": [None if np.isnan(fold) else fold for fold in layers.folds],
        "right": [right(p, x[report], y[report]).tolist() for p, x in zip(layers.probes, states)],
        "shuffled": _shuffled(states[best], y, steer, report, layers, seed),
        "clusters": [encoded.clusters[at] for at in report],
    }


def choice_figure(name: str, found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Accuracy of the probe on every model, at the block chosen for the unlearned one.

    Args:
        name: of the set.
        found: role → facts of :func:`probe_choices`.
    """
    layer = found["unlearned"]["layer"]
    each = {role: np.array(facts["right"][layer]) for role, facts in found.items()}
    accuracy: dict[str, float | None] = {role: float(values.mean()) for role, values in each.items()}
    shuffled = {role: facts["shuffled"] for role, facts in found.items()}
    clusters = found["unlearned"]["clusters"]
    return figure(
        f"layer {layer + 1} of {len(found['unlearned']['right'])}",
        f"{name}_probe_accuracy",
        {},
        accuracy,
        gap_interval=mean_gap_interval(each, clusters, "probe"),
        details={
            "layer": layer + 1,
            "questions": len(clusters),
            "shuffled_letters": shuffled,
            "above_shuffled": {role: a - shuffled[role] for role, a in accuracy.items() if a is not None},
            "above_base": None if "base" not in each else float(each["unlearned"].mean() - each["base"].mean()),
            "folds": {role: facts["folds"] for role, facts in found.items()},
        },
    )


def _places(encoded: TokenSet, ids: tuple[str, ...], positions: Any) -> list[int]:
    """Where the examples at these positions of the set stand among the encoded questions."""
    place = {name: at for at, name in enumerate(encoded.ids)}
    return [place[ids[at]] for at in positions if ids[at] in place]


def _shuffled(x: np.ndarray, y: np.ndarray, steer: list[int], report: list[int], layers: Layers, seed: int) -> float:
    """Mean accuracy of probes of the same penalty on letters dealt anew to the questions: what chance gives."""
    draw = statistics.generator("probe", "letters", str(seed))
    strength = layers.strengths[layers.best]
    dealt = [draw.permutation(y[steer]) for _ in range(SHUFFLES)]
    return float(np.mean([right(fitted(x[steer], each, strength), x[report], y[report]).mean() for each in dealt]))
