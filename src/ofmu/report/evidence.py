"""Charts of the outcome: distributions, attacks, the forget–retain plane, each metric's intervals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ofmu.report import course, names
from ofmu.report.charts import Course, Curve, Interval, Place, Sample, distributions, intervals, plane, roc
from ofmu.report.figure import Figure
from ofmu.report.frame import Mark
from ofmu.report.headline import MAIN_ROLES, Line, Table
from ofmu.report.membership import loss_attack
from ofmu.report.words import finite, listed, number

Distributions = Mapping[str, Mapping[str, Sequence[float]]]

MARKS: dict[str, Mark] = {
    "original": "hollow",
    "unlearned": "circle",
    "retrained": "diamond",
    "base": "square",
}
_MOST_METRICS = 9
_MOST_OF_A_GROUP = 4
_MOST_ATTACKS = 2  # their curves are drawn too
_BESIDE_THE_VERDICT = (
    "forget_loss",
    "forget_accuracy",
    "mia_loss",
    "mia_confidence",
    "retain_probability",
    "retain_accuracy",
    "test_accuracy",
)


def losses(per_example: Distributions) -> Figure:
    """Loss distributions of forget set and holdout under every model, on one axis."""
    heading = "How surprised is each model by the forget set, and by the holdout?"
    bands, roles = [], [role for role in MAIN_ROLES if per_example.get(role, {}).get("forget")]
    for role in roles:
        sets = per_example[role]
        samples = [Sample("forget set", sets["forget"], "forget", filled=True)]
        if sets.get("holdout"):
            samples.append(Sample("holdout (never trained on)", sets["holdout"], "holdout"))
        bands.append((names.role(role), samples))
    if not bands:
        return Figure(heading, None, "No per-example losses were recorded, so there is nothing to draw.")
    svg = distributions(bands, label=heading, x_label="loss of an example, nats")
    words = (
        "One band for each model, all on one axis; height is the share of the examples, each band to its own "
        "scale; dashed lines are medians. Forgotten without a trace: the unlearned model's forget set lies "
        "where the retrained model's does."
    )
    return Figure(heading, svg, " ".join([words, *_missing(per_example), *_moved(per_example)]))


def truth_ratios(log_ratios: Distributions) -> Figure | None:
    """Distributions of the logarithm of the truth ratio under every model, on one axis; None if none is known.

    Args:
        log_ratios: role → set → per-example log TR = λ of the right answer − mean λ of the wrong ones, in nats.
    """
    heading = "Can each model still tell right answers from wrong ones?"
    beside = "holdout" if any(sets.get("holdout") for sets in log_ratios.values()) else "retain"
    bands = []
    for role in [role for role in MAIN_ROLES if log_ratios.get(role, {}).get("forget")]:
        sets = log_ratios[role]
        samples = [Sample("forget set", sets["forget"], "forget", filled=True)]
        if sets.get(beside):
            samples.append(Sample(names.set_name(beside), sets[beside], beside))
        bands.append((names.role(role), samples))
    if not bands:
        return None
    svg = distributions(
        bands,
        label=heading,
        x_label="log truth ratio of an example, nats",
        log=False,
        line=(0.0, "right and wrong equally likely"),
    )
    words = (
        "Below 0 (dotted) the right answer, put in other words, is likelier than wrong ones. Each band has its own "
        "height; dashed lines are medians. As retrained: the unlearned model's forget set lies where the retrained "
        "model's does. One that flees to the right prefers wrong answers, which is a trace too."
    )
    return Figure(heading, svg, words)


def _missing(per_example: Distributions) -> list[str]:
    words = []
    if not any(sets.get("holdout") for sets in per_example.values()):
        words.append("No holdout was given, so there is nothing never trained on to compare with.")
    if not per_example.get("retrained", {}).get("forget"):
        words.append("No retrained model was given, so the place to reach is not shown.")
    return words


def _moved(per_example: Distributions) -> list[str]:
    before = _mean(per_example.get("original", {}).get("holdout", ()))
    after = _mean(per_example.get("unlearned", {}).get("holdout", ()))
    if before is None or after is None:
        return []
    return [f"Unlearning moved the holdout too: its mean loss went from {number(before)} to {number(after)}."]


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in map(finite, values) if value is not None]
    return statistics.fmean(known) if known else None


def attack(per_example: Distributions) -> Figure:
    """ROC of the loss attack, forget set against holdout, under every model that has both."""
    heading = "Can the loss tell the forget set from data never trained on?"
    curves = []
    for role in MAIN_ROLES:
        sets = per_example.get(role, {})
        rates = loss_attack(sets.get("forget", ()), sets.get("holdout", ()))
        if rates:
            label = f"{short(role)}: area {rates.area:.3f}"
            dashed = role in {"original", "base"}
            curves.append(Curve(label, rates.false_positive, rates.true_positive, role, dashed))
    if not curves:
        why = "No holdout was given" if any("forget" in s for s in per_example.values()) else "No losses were recorded"
        return Figure(
            heading,
            None,
            f"{why}: a membership attack needs examples that no model was trained on, so there is no curve.",
        )
    svg = roc(
        curves,
        label="Receiver operating characteristic of the loss attack",
        x_label="false alarms: share of the holdout accused",
        y_label="hits: share of the forget set found",
    )
    words = (
        "The attacker calls an example “trained on” if its loss is low. Near the upper left corner the "
        "forget set still stands out; far below the diagonal it stands out by being too unlikely. What counts "
        "is the distance to the retrained model's curve, not to the diagonal."
    )
    return Figure(heading, svg, words)


def forget_retain(per_example: Distributions, table: Table | None, history: Sequence[Mapping[str, Any]]) -> Figure:
    """The forget–retain plane: before, the run's path, unlearned, and the retrained model as target."""
    heading = "From before to after, and where retraining would have arrived"
    points, source = course.path(history)
    places = []
    for role in MAIN_ROLES:
        x, y = _point(role, "forget", per_example, table), _point(role, "retain", per_example, table)
        if x is not None and y is not None:
            words = names.role(role) + (" (target)" if role == "retrained" else "")
            places.append(Place(words, x, y, role, MARKS[role]))
    if not places and len(points) < 2:
        return Figure(heading, None, "Neither forget and retain losses nor a course were recorded.")
    courses = [Course("path of the run", points, "path")] if len(points) >= 2 else []
    svg = plane(
        courses,
        places,
        label=heading,
        x_label="loss on the forget set, nats",
        y_label="loss on the retain set, nats",
    )
    words = "Right is forgotten, up is damaged."
    if courses:
        words += f" The path is made of {source}, the marked points of the reported sets: they need not meet."
    if not any(place.tone == "retrained" for place in places):
        words += " Without a retrained model there is no target."
    return Figure(heading, svg, words)


def _point(role: str, which: str, per_example: Distributions, table: Table | None) -> float | None:
    for line in table.lines() if table else ():
        cell = line.cell(role)
        if line.metric == f"{which}_loss" and cell and cell.value is not None:
            return cell.value
    return _mean(per_example.get(role, {}).get(which, ()))


def metric_charts(table: Table | None) -> list[Figure]:
    """One small chart a metric, its values and intervals under every model: the first of each group, nine in all."""
    figures = []
    for line in _charted(table):
        rows = [
            Interval(short(cell.role), cell.value, cell.low, cell.high, cell.role, MARKS[cell.role])
            for cell in line.cells
        ]
        target = line.cell("retrained") if line.direction == "as_retrained" else None
        svg = intervals(rows, label=line.title, x_label=line.metric, target=target.value if target else None)
        figures.append(Figure(line.title, svg, line.hint))
    return figures


def _charted(table: Table | None) -> list[Line]:
    chosen: list[Line] = []
    for _, lines in table.groups if table else ():
        known = [line for line in lines if sum(cell.value is not None for cell in line.cells) >= 2]
        attacks = sum(names.is_attack(line.metric) for line in known)
        chosen += known[: _MOST_ATTACKS if attacks and attacks == len(known) else _MOST_OF_A_GROUP]
    return chosen[:_MOST_METRICS]


def short(role: str) -> str:
    """A role in as few words as a chart has room for."""
    return {"retrained": "retrained", "base": "base model"}.get(role, names.role(role))


def in_figures(table: Table | None) -> list[str]:
    """The few numbers that belong beside the verdict, one sentence each."""
    said = []
    by_name = {line.metric: line for line in (table.lines() if table else ())}
    for line in [by_name[name] for name in _BESIDE_THE_VERDICT if name in by_name]:
        values = [(cell.role, cell.value) for cell in line.cells if cell.value is not None]
        if values:
            parts = [f"{number(value)} {short(role)}" for role, value in values]
            said.append(f"{line.title}: {listed(parts)}.")
    return said[:4]
