"""The verdict in sentences, for a reader who signs and is no specialist: each claim with its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ofmu.evaluation import ability, phrases
from ofmu.evaluation.against_holdout import Attacked, SetGap, attacks, distinguishable, set_gaps
from ofmu.evaluation.gaps import Gap, measured
from ofmu.evaluation.metric import Measurement
from ofmu.evaluation.records import Records
from ofmu.evaluation.score import Score

Measurements = Mapping[str, Measurement]
Answers = Mapping[str, bool | None]
Findings = Sequence[tuple[str, bool, Gap]]

UNTOUCHED = 0.9  # share of the way from before to the yardstick that is left, from which on nothing was forgotten


_YARDSTICK = {
    "retrained": "a model retrained without them",
    "never-seen data": "the base model, which saw neither them nor the holdout",
}
_CANNOT_TELL = (
    "Forgotten: cannot be told. There is no model retrained without these examples to compare with, and "
    "no base model that never saw them."
)
_NO_HOLDOUT_FOR_BASE = (
    "Forgotten: cannot be told. There is no model retrained without these examples to compare with, and without "
    "a holdout the base model says nothing: what training taught about all such examples would count as remembering."
)
_USELESS = (
    "The model is useless: by the whole interval more than half of the measured ability is gone. What such a model "
    "does not know of the forget set it does not know of anything else either, and that is not forgetting."
)
_STANDS_OUT = {
    "remembered": (
        "yes, as if remembered. The model finds the forget set more familiar than examples that no model has seen"
    ),
    "over-forgotten": (
        "yes, as if pushed too far. The model finds the forget set stranger than examples that it has never seen, "
        "and that can give away what was forgotten"
    ),
    "both": (
        "yes, to both sides: to some attacks the forget set is more familiar than the holdout, to others stranger, "
        "as where a model is sure of wrong answers"
    ),
    "no": "no. Every attack is near guessing: its whole interval within .1 of .5, and .5 in it",
    "undecided": "undecided. The intervals contain .5 (guessing), but at least one is too wide to rule out more",
}
_DIFFICULTY = (
    "A difference in difficulty between forget set and holdout cannot be told from remembering: a model that never saw "
    "the forget set may stand on either side of .5 too."
)
_TOO_FAR = (
    "Gone too far: yes. The model treats these examples as stranger than examples it has never seen, and "
    "that is itself a trace of them."
)
_NO_ATTACKS = (
    "Not shown: whether the knowledge can be brought back. None of these figures comes from an attack "
    "that teaches the model a little of the data again, rounds its weights (quantisation), rephrases the "
    "questions or draws many answers."
)


def paragraph(
    measurements: Measurements,
    records: Records,
    answers: Answers,
    against: str,
    findings: Findings,
    cost: ability.Cost,
) -> str:
    """The whole verdict: what was to be forgotten, whether it was, at what cost, what is not shown.

    Args:
        measurements: score name → measurement.
        records: what was measured.
        answers: ``forgotten``, ``over_forgotten``, ``utility_kept``.
        against: ``"retrained"``, ``"never-seen data"`` or ``"nothing"``.
        findings: name, is it an attack, gap to the reference, for each figure the answers rest on.
        cost: what it cost in ability.
    """
    if "unlearned" not in records.roles:
        return "No unlearned model was measured, so nothing can be said about forgetting."
    sentences = [_what(measurements)]
    if against == "nothing":
        sentences += _without_reference(measurements, records, useless=cost.useless)
    else:
        sentences += _forgetting(measurements, answers, against, findings, useless=cost.useless)
    sentences += ability.sentences(measurements, records, cost)
    sentences += _limits(records, against, findings)
    return " ".join(sentence for sentence in sentences if sentence)


def _what(measurements: Measurements) -> str:
    score = _score(measurements, "forget_loss")
    if score is None or score.n == 0:
        return ""
    groups = ""
    if score.clusters != score.n:
        groups = f" in {phrases.count(score.clusters, 'cluster')} (what belongs together: one person, one document)"
    return f"To be forgotten: {phrases.count(score.n, 'example')}{groups}."


def _forgetting(
    measurements: Measurements, answers: Answers, against: str, findings: Findings, *, useless: bool
) -> list[str]:
    """Whether they were forgotten and whether too far, with the figures."""
    yardstick = _YARDSTICK[against]
    judged = {
        True: f"yes. By no figure measured here is the model more than a tenth behind {yardstick}",
        False: f"no. At least one figure is clearly more than a tenth away from {yardstick}",
        None: f"undecided. The figures neither show nor rule out that the model is as {yardstick}",
    }[answers["forgotten"]]
    if useless and answers["forgotten"] is None:
        judged = "cannot be told"
    elif _untouched(findings):
        judged = f"no, nothing. By every figure nine tenths or more of the way to {yardstick} are left"
    too_far = {True: _TOO_FAR, False: "Gone too far: no.", None: "Gone too far: undecided."}
    sentences = [f"Forgotten: {judged}.", _USELESS if useless else "", too_far[answers["over_forgotten"]]]
    figures = [(_rank(name), measurements[name], found) for name, attack, found in findings if not attack]
    sentences += [_figure(each, found, against) for _, each, found in sorted(figures, key=lambda f: f[0])]
    attacks = [(measurements[name], found) for name, attack, found in findings if attack]
    sentences += [_attacked(each, found, against, first=i == 0) for i, (each, found) in enumerate(attacks)]
    if not findings:
        sentences.append("No figure could be compared; the reasons stand beside the scores.")
    scores = [_score(measurements, name) for name, _, _ in findings]
    few = [score.reason for score in scores if score is not None and score.interval is None and score.reason]
    if few:
        sentences.append(f"Some figures have no interval ({few[0]}), so nothing certain follows from them.")
    return sentences


def _untouched(findings: Findings) -> bool:
    """Whether by every figure with a signal, the whole interval, nothing was forgotten."""
    left = [found.residual_interval for _, attack, found in findings if not attack]
    return bool(left) and all(bounds is not None and bounds[0] > UNTOUCHED for bounds in left)


def _rank(name: str) -> int:
    """The order of figures in the text: the easiest to understand first, unknown ones last."""
    kind = name.removeprefix("forget_")
    return list(phrases.NAMES).index(kind) if kind in phrases.NAMES else len(phrases.NAMES)


def _figure(measurement: Measurement, found: Gap, against: str) -> str:
    """One figure of the forget set: before, now, the yardstick, and how much of the way is left."""
    kind = measurement.metric.name.removeprefix("forget_")
    title = phrases.capital(phrases.NAMES.get(kind, kind.replace("_", " ")))
    return f"{title} on the forget set: {_course(measurement, found, against)}{_left(found)}."


def _attacked(measurement: Measurement, found: Gap, against: str, *, first: bool) -> str:
    """One attack: how often it is right before, now, on the yardstick; what that means, the first time."""
    name = measurement.metric.name
    title = _attack(measurement) if first else f"The same by the {phrases.NAMES.get(name, name)}"
    bounds = phrases.bounds(found.interval, "95 % interval of the difference")
    return f"{title}: {_course(measurement, found, against)}{bounds}."


def _course(measurement: Measurement, found: Gap, against: str) -> str:
    before = measured(measurement, "original")
    course = [] if before is None else [f"{phrases.number(before)} before"]
    course.append(f"{phrases.number(measured(measurement, 'unlearned'))} now")
    course.append(f"{phrases.number(found.reference)} {'retrained' if against == 'retrained' else 'base model'}")
    return ", ".join(course)


def _left(found: Gap) -> str:
    """The residual as a share of the way from before to the yardstick, in per cent."""
    if found.residual is None:
        return ""
    share = f"{phrases.percent(found.residual)} % of the way is left"
    if found.residual < 0:
        share = f"{phrases.percent(-found.residual)} % of the way too far"
    if found.residual_interval is None:
        return f"; {share}"
    low, high = found.residual_interval
    return f"; {share} (95 % interval of what is left: {phrases.percent(low)} to {phrases.percent(high)} %)"


def _attack(measurement: Measurement) -> str:
    """What an attack's AUC means."""
    name = measurement.metric.name
    others = "never-seen" if measurement.metric.sets[1] == "holdout" else "test"
    return (
        f"How often someone who goes by the {phrases.NAMES.get(name, name)} alone can tell which of two, a forgotten "
        f"and a {others} example, was trained on (AUC; 0.5 is guessing)"
    )


def _without_reference(measurements: Measurements, records: Records, *, useless: bool) -> list[str]:
    """With neither a retrained nor a base model: how the two sets stand to each other, and no judgement."""
    base = any(role == "base" for role, _ in records)
    sentences = [_NO_HOLDOUT_FOR_BASE if base else _CANNOT_TELL]
    sentences += [_USELESS] if useless else []
    sentences += _held_against(measurements) or _unjudged_attack(measurements)
    for name, title in (("forget_loss", "forget set"), ("holdout_loss", "holdout")):
        score, before = _score(measurements, name), _score(measurements, name, "original")
        if score is not None and np.isfinite(score.value):
            was = "" if before is None or not np.isfinite(before.value) else f"{phrases.number(before.value)} before, "
            sentences.append(f"Mean loss on the {title}: {was}{phrases.number(score.value)} now{_spread(score)}.")
    return sentences


def _held_against(measurements: Measurements) -> list[str]:
    """Does the forget set stand out from the holdout, on which side, by which figures; and what that cannot show."""
    found = attacks(measurements)
    if not found:
        return []
    several = f" ({len(found)} attacks, the clearest first, each with an interval of its own)" if len(found) > 1 else ""
    sentences = [f"Stands out against the holdout: {_STANDS_OUT[_stands(found)]}{several}."]
    clearest = sorted(found, key=lambda attack: (attack.side is None, -abs(attack.auc - 0.5)))
    for number, attack in enumerate(clearest):
        measurement = measurements[attack.name]
        name = phrases.NAMES.get(attack.name, attack.name)
        title = f"The same by the {name}" if number else _attack(measurement)
        was = "" if attack.before is None else f"{phrases.number(attack.before)} before, "
        sentences.append(f"{title}: {was}{phrases.number(attack.auc)} now{phrases.bounds(attack.interval)}.")
    gaps = sorted(set_gaps(measurements), key=lambda each: _rank(each.name))
    sentences += [_set_gap(each) for each in gaps if each.name in ("loss", "probability", "accuracy")]
    return [*sentences, _DIFFICULTY]


def _stands(found: Sequence[Attacked]) -> str:
    sides = {attack.side for attack in found} - {None}
    if len(sides) == 2:
        return "both"
    return str(sides.pop()) if sides else "undecided" if distinguishable(found) is None else "no"


def _set_gap(found: SetGap) -> str:
    """A figure of the model now on the two sets, and their difference."""
    title = phrases.capital(phrases.NAMES.get(found.name, found.name.replace("_", " ")))
    values = f"{phrases.number(found.forget)} on the forget set, {phrases.number(found.holdout)} on the holdout"
    return f"{title}: {values}; gap against the holdout {found.value:+.4f}{phrases.bounds(found.interval)}."


def _unjudged_attack(measurements: Measurements) -> list[str]:
    """An attack's figure, or why there is none."""
    sentences = []
    for name in ("mia_loss", "mia_confidence"):
        score = _score(measurements, name)
        if score is not None and not np.isfinite(score.value):
            sentences.append(f"Nor is there an attack to look at: {score.reason}.")
        elif score is not None:
            figure = f"{phrases.number(score.value)}{phrases.bounds(score.interval)}"
            sentences += [f"{_attack(measurements[name])}: {figure}.", _DIFFICULTY]
    return sentences


def _limits(records: Records, against: str, findings: Findings) -> list[str]:
    """What none of this shows."""
    limits = [_NO_ATTACKS]
    if against == "retrained" and len(records.retrained) == 1:
        limits.append("The yardstick is a single seed: how far two retrained models differ is not known.")
    if against != "nothing" and not any(attack for _, attack, _ in findings):
        limits.append("No membership attack could be compared: it needs a holdout that no model has seen.")
    return limits


def _score(measurements: Measurements, name: str, role: str = "unlearned") -> Score | None:
    measurement = measurements.get(name)
    return None if measurement is None else measurement.scores.get(role)


def _spread(score: Score) -> str:
    """Middle and outer tenths of the per-example values."""
    low, middle, high = np.quantile(list(score.per_sample.values()), [0.1, 0.5, 0.9])
    outer = f"a tenth below {phrases.number(low)}, a tenth above {phrases.number(high)}"
    return f" (half of the examples above {phrases.number(middle)}; {outer})"
