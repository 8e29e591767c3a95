"""The course of the run: what history.jsonl holds, as small charts over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofmu.report.charts import Line, lines
from ofmu.report.figure import Figure
from ofmu.report.words import count, finite, listed

History = Sequence[Mapping[str, Any]]

# (heading, y label, zero line, logarithmic, how to read it, ((key, label, tone, dashed), …))
_CHARTS = (
    (
        "Losses",
        "loss of the step's batch, nats",
        False,
        None,
        "Forgetting raises the first and should leave the second where it was. Dashed: checks on the steering half.",
        (
            ("forget_loss", "forget batch", "forget", False),
            ("retain_loss", "retain batch", "retain", False),
            ("checks.forget_loss_steer", "forget, checked", "forget", True),
            ("checks.retain_loss_steer", "retain, checked", "retain", True),
        ),
    ),
    (
        "Similarity of the two gradients",
        "cosine",
        True,
        False,
        "0: forgetting and keeping pull at different things. Below 0: they oppose each other.",
        (("similarity", "similarity", "ink", False),),
    ),
    (
        "Penalty weight and balance",
        "weight",
        False,
        None,
        "ρ weighs the penalty on ‖∇Φ‖², β the similarity, λ_eff forgetting against keeping.",
        (
            ("rho", "ρ", "unlearned", False),
            ("beta", "β", "retrained", True),
            ("lambda_eff", "λ_eff", "forget", False),
        ),
    ),
    (
        "Sizes of the gradients",
        "Euclidean norm",
        False,
        None,
        "Of the forget loss, the retain loss and of the inner objective Φ.",
        (
            ("norm_forget", "‖∇L_f‖", "forget", False),
            ("norm_retain", "‖∇L_r‖", "retain", False),
            ("norm_phi", "‖∇Φ‖", "unlearned", True),
        ),
    ),
    (
        "What the penalty does to forgetting",
        "κ",
        True,
        False,
        "κ is the curvature along the forgetting direction. Above 0 the penalty undoes forgetting, unless "
        "the guard takes that part away.",
        (("kappa", "κ", "ink", False),),
    ),
    (
        "Step size",
        "learning rate",
        False,
        False,
        "Warm-up and decay of the optimiser's step.",
        (("learning_rate", "learning rate", "ink", False),),
    ),
    (
        "Has the level been reached?",
        "p of the Kolmogorov–Smirnov test",
        True,
        False,
        "Agreement of the forget losses with their level; above 0.1 at two checks running the run may stop.",
        (("checks.ks_p", "p", "ink", False),),
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
    for heading, y_label, zero, log, words, keys in _CHARTS:
        found = [Line(label, _points(history, key), tone, dashed) for key, label, tone, dashed in keys]
        found = [line for line in found if line.points]
        if not found:
            missing.append(heading.lower())
            continue
        svg = lines(found, label=heading, x_label="step", y_label=y_label, log=log, zero=zero)
        drawn.append(Figure(heading, svg, words + _guarded(history, heading)))
    said = f"Not recorded in this run, or no part of its method: {listed(missing)}." if missing else ""
    return drawn, said


def _points(history: History, key: str) -> list[tuple[float, float | None]]:
    """Values of a key where there are any: κ or a check is not made at every step, a line joins them."""
    outer, _, inner = key.rpartition(".")
    points = []
    for index, line in enumerate(history):
        step = finite(line.get("step"))
        part = (line.get(outer) or {}) if outer else line
        value = finite(part.get(inner))
        if value is not None:
            points.append((float(index) if step is None else step, value))
    return points


def _guarded(history: History, heading: str) -> str:
    known = [line["guarded"] for line in history if isinstance(line.get("guarded"), bool)]
    if not known or "penalty does" not in heading:
        return ""
    return f" The guard acted in {count(sum(known))} of {count(len(known))} steps."


def path(history: History) -> tuple[list[tuple[float, float]], str]:
    """The run's way through the forget–retain plane and which losses it is made of.

    Checks on the steering half are taken where there are at least two, since single batches are noisy;
    otherwise the batches' own losses, averaged over neighbours.
    """
    forget = _points(history, "checks.forget_loss_steer")
    retain = _points(history, "checks.retain_loss_steer")
    checked = _paired(forget, retain)
    if len(checked) >= 2:
        return checked, "checks on the steering half"
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
