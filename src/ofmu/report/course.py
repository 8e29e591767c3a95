"""The course of the run: what history.jsonl holds, as small charts over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ofmu.report.charts import Line, lines
from ofmu.report.figure import Figure
from ofmu.report.words import count, finite, listed

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Curve:
    """A curve of a chart: the key of a history line (``checks.`` for one of its checks) and how it looks."""

    key: str
    label: str
    tone: str
    dashed: bool = False


@dataclass(frozen=True)
class _Chart:
    """A small chart.

    Args:
        title: heading.
        y_label: the vertical axis.
        words: how to read it.
        curves: what is drawn, if recorded.
        zero: draw a line at 0.
        log: logarithmic axis; None lets the values decide.
        usual: False where most runs have no such thing, so that its absence is not worth a word.
    """

    title: str
    y_label: str
    words: str
    curves: tuple[_Curve, ...]
    zero: bool = False
    log: bool | None = None
    usual: bool = True


_CHARTS = (
    _Chart(
        "Losses",
        "loss of the step's batch, nats",
        "Forgetting raises the first and should leave the second where it was. Dashed: checks on examples that steer.",
        (
            _Curve("forget_loss", "forget batch", "forget"),
            _Curve("retain_loss", "retain batch", "retain"),
            _Curve("checks.forget_loss", "forget, checked", "forget", dashed=True),
            _Curve("checks.retain_loss", "retain, checked", "retain", dashed=True),
        ),
    ),
    _Chart(
        "Removed classes",
        "share of images predicted as removed",
        "Checked on examples that steer: should fall to chance, and no further.",
        (_Curve("checks.removed_share", "predicted as removed", "forget"),),
        zero=True,
        log=False,
        usual=False,
    ),
    _Chart(
        "Way to the goal",
        "share of the way",
        "0 is the start, 1 the goal. Dashed: rise of the retain loss, as a share of its distance to chance level.",
        (
            _Curve("checks.progress", "forgetting", "forget"),
            _Curve("checks.retain_excess", "damage", "retain", dashed=True),
        ),
        zero=True,
        log=False,
    ),
    _Chart(
        "Has the level been reached?",
        "p of the Kolmogorov–Smirnov test",
        "Agreement of the forget losses with their level; above 0.1 at two checks running the run may stop.",
        (_Curve("checks.agreement", "p", "ink"),),
        zero=True,
        log=False,
    ),
    _Chart(
        "Similarity of the two gradients",
        "cosine",
        "Above 0, a step that forgets also raises the retain loss: conflict. Noise of the batches draws the cosine to "
        "0; dashed: an estimate without that bias.",
        (
            _Curve("similarity", "of the batches", "ink"),
            _Curve("similarity_debiased", "without the bias of noise", "retrained", dashed=True),
        ),
        zero=True,
        log=False,
    ),
    _Chart(
        "Weights of penalty and similarity",
        "weight",
        "ρ weighs the penalty on ‖∇Φ‖², β the similarity; both absolute, 0 where a term is off or inactive.",
        (_Curve("rho", "ρ", "unlearned"), _Curve("beta", "β", "retrained", dashed=True)),
    ),
    _Chart(
        "Balance",
        "λ_eff",
        "Forgetting against keeping. Dashed: as the optimiser's steps made it, first moments included.",
        (
            _Curve("lambda_eff", "asked for", "forget"),
            _Curve("lambda_measured", "measured", "ink", dashed=True),
        ),
    ),
    _Chart(
        "Multipliers of the priority",
        "multiplier",
        "The least λ_eff at which keeping does not undo what forgetting needs, and 1/λ_eff of the most at which "
        "forgetting leaves keeping what it needs.",
        (
            _Curve("forget_multiplier", "of forgetting", "forget"),
            _Curve("retain_multiplier", "of keeping", "retain", dashed=True),
        ),
        usual=False,
    ),
    _Chart(
        "Share of the similarity term",
        "‖βD‖/‖∇L_f‖",
        "How much of the inner step decorrelates; 0 where the gradients are not in conflict.",
        (_Curve("similarity_share", "share", "unlearned"),),
        zero=True,
        log=False,
        usual=False,
    ),
    _Chart(
        "Trust region",
        "share left",
        "1: the round's way was within the region; below, it was scaled back to its edge.",
        (_Curve("trust", "share", "ink"),),
        zero=True,
        log=False,
        usual=False,
    ),
    _Chart(
        "Sizes of the gradients",
        "Euclidean norm",
        "Of the forget loss, the retain loss and of the inner objective Φ.",
        (
            _Curve("norm_forget", "‖∇L_f‖", "forget"),
            _Curve("norm_retain", "‖∇L_r‖", "retain"),
            _Curve("norm_phi", "‖∇Φ‖", "unlearned", dashed=True),
        ),
    ),
    _Chart(
        "What the penalty does to forgetting",
        "κ",
        "κ is the curvature along the forgetting direction. Above 0 the penalty undoes forgetting, unless the guard "
        "takes that part away.",
        (_Curve("kappa", "κ", "ink"),),
        zero=True,
        log=False,
    ),
    _Chart(
        "Gradients spent",
        "gradients of one batch",
        "In all, exact products at what they cost; forward passes are counted apart.",
        (_Curve("gradients", "gradients", "ink"),),
        zero=True,
        log=False,
        usual=False,
    ),
    _Chart(
        "Step size",
        "learning rate",
        "Warm-up and decay of the optimiser's step.",
        (_Curve("learning_rate", "learning rate", "ink"),),
        log=False,
    ),
)


def figures(history: History) -> tuple[list[Figure], str]:
    """The charts for which something was recorded, and a sentence about those for which nothing was.

    Args:
        history: lines of history.jsonl.

    Returns:
        Figures, and words (empty if nothing is missing).
    """
    if not history:
        return [], "No steps were recorded, so there is no course to draw."
    drawn, missing = [], []
    for chart in _CHARTS:
        found = [Line(each.label, _points(history, each.key), each.tone, each.dashed) for each in chart.curves]
        found = [line for line in found if line.points]
        if not found:
            missing += [chart.title.lower().rstrip("?")] if chart.usual else []
            continue
        svg = lines(found, label=chart.title, x_label="step", y_label=chart.y_label, log=chart.log, zero=chart.zero)
        drawn.append(Figure(chart.title, svg, chart.words))
    said = [f"Not recorded in this run, or no part of its method: {listed(missing)}."] if missing else []
    return drawn, " ".join([*said, *_guarded(history)])


def _points(history: History, key: str) -> list[tuple[float, float | None]]:
    """Values of a key where there are any: κ or a check is not made at every step, a line joins them."""
    outer, _, inner = key.rpartition(".")
    points = []
    for index, line in enumerate(history):
        step = finite(line.get("step"))
        value = finite((_checks(line) if outer else line).get(inner))
        if value is not None:
            points.append((float(index) if step is None else step, value))
    return points


def _checks(line: Mapping[str, Any]) -> dict[str, Any]:
    """The checks of a step. Where whole classes are removed, what is watched is a share and no loss."""
    checks = dict(line.get("checks") or {})
    if checks.get("agreement") is None and checks.get("progress") is not None:
        checks["removed_share"] = checks.pop("forget_loss", None)
    return checks


def _guarded(history: History) -> list[str]:
    """How often the guard acted; where there was a penalty and it never did, whether it should have."""
    known = [line["guarded"] for line in history if isinstance(line.get("guarded"), bool)]
    if acted := sum(known):
        return [f"The guard acted in {count(acted)} of {count(len(known))} steps ({acted / len(known):.0%})."]
    kappas = [kappa for line in history if (kappa := finite(line.get("kappa"))) is not None]
    if not kappas:
        return []
    if undone := sum(kappa > 0 for kappa in kappas):
        share = f"{count(undone)} of {count(len(kappas))} steps ({undone / len(kappas):.0%})"
        return [f"κ was above 0 in {share} and the guard did not act: there the penalty undid forgetting."]
    return ["κ was never above 0: the penalty undid nothing, and the guard had nothing to do."]


def path(history: History) -> tuple[list[tuple[float, float]], str]:
    """The run's way through the forget–retain plane and which losses it is made of.

    Checks on steering examples are taken where there are at least two, since single batches are noisy;
    otherwise the batches' own losses, averaged over neighbours.
    """
    checked = _paired(_points(history, "checks.forget_loss"), _points(history, "checks.retain_loss"))
    if len(checked) >= 2:
        return checked, "checks on steering examples"
    batches = _paired(_points(history, "forget_loss"), _points(history, "retain_loss"))
    width = max(1, len(batches) // 40)
    parts = [batches[start : start + width] for start in range(0, len(batches), width)]
    means = [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
    return means, f"training batches, means of {width}" if width > 1 else "training batches"


def _paired(
    forget: Sequence[tuple[float, float | None]], retain: Sequence[tuple[float, float | None]]
) -> list[tuple[float, float]]:
    by_step = {step: value for step, value in retain if value is not None}
    return [(value, by_step[step]) for step, value in forget if value is not None and step in by_step]
