"""What a linear classifier reads from a model's inside: traces of the forgotten that its outputs no longer show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ofmu.data.examples import Examples, ImageExamples, TextExamples
from ofmu.engine.forward import Encoded
from ofmu.evaluation import statistics
from ofmu.evaluation.attack import Attacked, Compared, Figure, Findings, ModelAttack, Target, figure, mean_retrained
from ofmu.evaluation.choice_probe import choice_figure, probe_choices, question_sets
from ofmu.evaluation.linear_probe import SHUFFLES, fit, fit_layers, fitted, right
from ofmu.evaluation.residual_stream import features, prompt_states
from ofmu.evaluation.statistics import Floats

MOST = 400
"""Images of each half and set that a head is refit on at most."""


@dataclass(frozen=True)
class Probe(ModelAttack):
    """Tell forgotten examples from unseen ones of the same kind by a linear probe on the model's inside.

    Text: the residual stream after each block at the last token of the prompt. Images: what the head is given. A
    standardised ridge-logistic classifier, λ by five folds of whole clusters, is trained on the steering clusters and
    scored on the others: AUC, 1 = told apart throughout. The block is the one best in the folds. Forget set and
    holdout may differ in more than what was trained on: the control is the same probe on the base model, the yardstick
    the retrained one; shuffled labels show what chance gives.

    Multiple-choice questions, as the forget set or beside it (``--abilities``): the same probe of the right letter at
    the last token before it, accuracy on the reporting clusters; chance is what shuffled letters give.

    Whole classes of images removed: also a head refit for all classes, and its accuracy on the forgotten ones.

    Source: METRICS.md §12.
    """

    roles: ClassVar = ("unlearned", "original", "retrained", "base")

    def impossible(self, examples: Mapping[str, Examples]) -> str | None:
        """Unseen examples are needed, and for texts a prompt; or multiple-choice questions."""
        return _why_not_apart(examples) if not question_sets(examples) else None

    def run(self, target: Target) -> Attacked:
        """Probe every layer of one model."""
        facts: dict[str, Any] = {name: probe_choices(target, name) for name in question_sets(target.examples)}
        facts = {"choices": facts} if facts else {}
        if _why_not_apart(target.examples) is None:
            of_class = bool(target.removed) or "holdout" not in target.sets
            other = "test" if target.modality == "image" and of_class and "test" in target.sets else "holdout"
            facts |= _tell_apart(target, _of_classes(target, other), target.seeds[0]) | {"against": other}
        if target.removed and isinstance(target.examples["forget"], ImageExamples):
            facts["refit"] = _refit(target)
        return Attacked(facts)

    def compare(self, attacked: Mapping[str, Attacked], compared: Compared) -> Findings:
        """AUC and accuracy at the unlearned model's block; for removed classes the refit head."""
        found = {role: each.facts for role, each in attacked.items()}
        ours = found["unlearned"]
        figures = [_separation(found)] if "scores" in ours else []
        for name, facts in ours.get("choices", {}).items():
            if "right" in facts:
                figures.append(choice_figure(name, {role: each["choices"][name] for role, each in found.items()}))
        for name in ours.get("refit", {}):
            figures.append(
                figure("refit head", name, {}, {role: facts["refit"][name] for role, facts in found.items()})
            )
        reasons = [facts["reason"] for facts in (ours, *ours.get("choices", {}).values()) if "reason" in facts]
        return Findings(tuple(figures), notes=tuple(reasons))


def _why_not_apart(examples: Mapping[str, Examples]) -> str | None:
    """Why the forget set cannot be told from unseen examples; None if it can."""
    forget = examples["forget"]
    if isinstance(forget, TextExamples):
        if "holdout" not in examples:
            return "no holdout set to tell the forget set from"
        if all(example.prompt is None for example in forget.examples):
            return "these are texts without a prompt"
    elif "holdout" not in examples and "test" not in examples:
        return "no holdout or test set to tell the forget set from"
    return None


# D_f against unseen examples


def _tell_apart(target: Target, unseen: tuple[Encoded, list[int], list[int]], seed: int) -> dict[str, Any]:
    """Scores of every layer's probe on the reporting half, as facts."""
    encoded, steer_h, report_h = unseen
    forget, steer_f, report_f = target.sets["forget"], target.steer["forget"], target.report["forget"]
    if set(steer_f) & set(report_f) or set(steer_h) & set(report_h) or not (len(steer_h) and len(report_h)):
        return {"reason": "too few clusters: a probe is trained on one half of them and scored on the other"}
    states = [_states(target, each) for each in (forget, encoded)]
    steer = np.concatenate([states[0][:, list(steer_f)], states[1][:, list(steer_h)]], axis=1)  # (L, n, d)
    shown = [states[0][:, list(report_f)], states[1][:, list(report_h)]]
    clusters = np.array([*np.array(forget.clusters)[list(steer_f)], *np.array(encoded.clusters)[list(steer_h)]])
    y = np.array([1] * len(steer_f) + [0] * len(steer_h))
    layers = fit_layers(steer, y, clusters, seed=seed)
    best = layers.best
    return {
        "layer": best,
        "folds": [None if np.isnan(fold) else fold for fold in layers.folds],
        "scores": [
            [probe.decision_function(side[layer].astype(np.float64)).tolist() for side in shown]
            for layer, probe in enumerate(layers.probes)
        ],
        "shuffled": _shuffled(steer[best], y, clusters, [side[best] for side in shown], layers.strengths[best], seed),
        "clusters": [[encoded.clusters[i] for i in at] for encoded, at in ((forget, report_f), (encoded, report_h))],
    }


def _shuffled(
    x: np.ndarray, y: np.ndarray, clusters: np.ndarray, shown: Sequence[np.ndarray], strength: float, seed: int
) -> float:
    """Mean AUC of probes of the same penalty trained on labels dealt anew to the clusters: what chance gives."""
    draw = statistics.generator("probe", "shuffled", str(seed))
    names, first = np.unique(clusters, return_index=True)
    aucs = []
    for _ in range(SHUFFLES):
        dealt = dict(zip(names.tolist(), draw.permutation(y[first]).tolist()))
        labels = np.array([dealt[name] for name in clusters.tolist()])
        probe = fitted(x, labels, strength)
        z = [probe.decision_function(each.astype(np.float64)) for each in shown]
        aucs.append(statistics.auc(-z[0], -z[1]))
    return float(np.mean(aucs))


def _separation(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    layer = found["unlearned"]["layer"]
    z = {role: [np.array(side) for side in facts["scores"][layer]] for role, facts in found.items()}
    aucs: dict[str, float | None] = {role: statistics.auc(-f, -h) for role, (f, h) in z.items()}
    shuffled = {role: facts["shuffled"] for role, facts in found.items()}
    control = aucs.get("base")
    return figure(
        f"layer {layer + 1} of {len(found['unlearned']['scores'])}, against {found['unlearned']['against']}",
        "probe_auc",
        {},
        aucs,
        gap_interval=_interval(z, found["unlearned"]["clusters"]),
        details={
            "layer": layer + 1,
            "shuffled_labels": shuffled,
            "above_shuffled": {role: auc - shuffled[role] for role, auc in aucs.items() if auc is not None},
            "above_base": None if control is None or aucs["unlearned"] is None else aucs["unlearned"] - control,
            "above_retrained": None if (r := mean_retrained(aucs)) is None else (aucs["unlearned"] or 0.0) - r,
            "folds": {role: facts["folds"] for role, facts in found.items()},
        },
    )


def _interval(z: Mapping[str, list[Floats]], clusters: Sequence[Sequence[str]]) -> tuple[float, float] | None:
    """Of AUC_u − AUC_r, both sides' clusters resampled; None without a retrained model or with few clusters."""
    retrained = [role for role in z if role.startswith("retrained")]
    numbers = [statistics.number_clusters(side) for side in clusters]
    if not retrained or min(n.max() + 1 for n in numbers) < statistics.MIN_CLUSTERS:
        return None
    sides = [np.stack([-z[role][side] for role in ("unlearned", *retrained)]) for side in (0, 1)]
    rng = statistics.generator("probe", *clusters[0])
    draws = statistics.bootstrap_aucs(sides[0], numbers[0], sides[1], numbers[1], rng)
    return statistics.interval(draws[0] - draws[1:].mean(axis=0))


def _states(target: Target, encoded: Encoded) -> np.ndarray:
    read = prompt_states if target.modality == "text" else features
    with target.autocast():
        return read(target.model, encoded, batch_size=target.batch_size, device=target.device)


def _of_classes(target: Target, name: str) -> tuple[Encoded, list[int], list[int]]:
    """Unseen examples with steering and reporting positions; of removed classes only, if whole classes were removed."""
    encoded, found = target.sets[name], target.examples[name]
    halves = [list(half[name]) for half in (target.steer, target.report)]
    if target.removed and isinstance(found, ImageExamples):
        halves = [[i for i in half if int(found.labels[i]) in target.removed] for half in halves]
    return encoded, halves[0], halves[1]


# Heads refit for removed classes


def _refit(target: Target) -> dict[str, float | None]:
    """Accuracy of a head refit on the steering halves of forget and retain set, on the reporting halves of each."""
    halves: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {"steer": [], "report": []}
    for name in ("forget", "retain"):
        found = target.examples[name]
        assert isinstance(found, ImageExamples)
        for half, positions in (("steer", target.steer[name]), ("report", target.report[name])):
            at = list(positions)[:MOST]
            x = _states(target, target.sets[name].take(at))[0]
            halves[half].append((x, found.labels[at], np.array([target.sets[name].clusters[i] for i in at])))
    x, y, groups = (np.concatenate(parts) for parts in zip(*halves["steer"]))
    head, *_ = fit(x, y, groups, seed=target.seeds[0])
    return {
        f"{name}_accuracy_of_refit_head": float(right(head, x, y).mean())
        for name, (x, y, _) in zip(("forget", "retain"), halves["report"])
    }
