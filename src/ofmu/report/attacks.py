"""What attacks after unlearning brought back: attacks.json as sentences, curves and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ofmu.report import names, relearning
from ofmu.report.figure import Figure
from ofmu.report.words import NOT_MEASURED, counted, finite, number, shorten

_MOST_ROWS = 120  # of one attack
_TITLES = {
    "relearning": ("Taught again", "A few steps of fine-tuning; what counts are the forgotten examples not taught."),
    "quantisation": ("Weights rounded", "Rounded weights can undo small changes; the retain set tells it from damage."),
    "prompts": ("Asked otherwise", "In other words, with a beginning, with examples, with the first true tokens."),
    "logit_lens": ("Read from inside", "What the model's inner layers would answer, at the layer that knows most."),
    "probe": ("A probe on the inner states", "A small classifier fitted on the model's inner states."),
    "sampling": ("Many answers drawn", "Share of the questions for which one of k answers drawn gives it away."),
}
_VARIANTS = {
    "int8": "8 bits, one scale a row (int8)",
    "int4": "4 bits, groups of 64 (int4)",
    "nf4": "4 bits, normal levels (nf4)",
    "rephrased": "question in other words",
    "prefix": "answer begun for it",
    "few_shot": "other forgotten facts shown before",
    "first_k": "first true tokens given",
    "worst": "the worst of these, question by question",
}
_FIRST = {  # attack → measures that a reader meets first; all where nothing is said
    "relearning": ("untaught_forget_loss", "untaught_forget_probability"),
    "quantisation": ("forget_probability", "retain_probability", "forget_accuracy", "retain_accuracy"),
    "prompts": ("forget_probability", "forget_extraction_strength"),
}


@dataclass(frozen=True)
class Row:
    """A measure before and after an attack, in words."""

    variant: str
    measure: str
    original: str
    before: str
    after: str
    retrained: str
    gap: str
    interval: str
    recovery: str
    reason: str


@dataclass(frozen=True)
class Part:
    """One attack.

    Args:
        title: its name in words.
        about: what was done.
        rows: the measures that come first.
        more: the others.
        figures: its charts.
        notes: what a reader must know.
    """

    title: str
    about: str
    rows: list[Row]
    more: list[Row]
    figures: list[Figure]
    notes: list[str]


@dataclass(frozen=True)
class Section:
    """All attacks.

    Args:
        words: the outcome, a sentence each, the relearning gap first.
        parts: one an attack.
        notes: what holds for all of them, and what was not done.
    """

    words: list[str]
    parts: list[Part]
    notes: list[str]


def section(found: Mapping[str, Any] | None) -> Section | None:
    """The section on attacks; None without any.

    Args:
        found: attacks.json.
    """
    made = _made(found)
    if found is None or not made:
        return None
    left_out = found.get("left_out")
    notes = [str(note) for note in found.get("notes") or ()]
    if isinstance(left_out, Mapping):
        notes += [f"Not done: {_title(str(name))[0].lower()}, as {reason}." for name, reason in left_out.items()]
    words = [words for name, each in made.items() for words in _outcome(name, each)]
    return Section(words, [_part(name, each) for name, each in made.items()], [shorten(n, 400) for n in notes[:20]])


def done(found: Mapping[str, Any] | None) -> frozenset[str]:
    """The attacks that were made."""
    return frozenset(_made(found))


def of_images(found: Mapping[str, Any] | None) -> bool:
    """Whether the models were image classifiers: their accuracy was measured."""
    measures = [figure.get("measure") for each in _made(found).values() for figure in _figures(each)]
    return any(str(measure).endswith("_accuracy") for measure in measures)


def relearning_gap(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The headline of relearning as a score of the table; None where relearning was not tried."""
    headline = _made(found).get("relearning", {}).get("headline")
    if not isinstance(headline, Mapping):
        return None
    parts = [
        {
            "name": _variant({"variant": f"{part.get('taught')}, r {part.get('rate')}"}),
            "value": part.get("value"),
            "reason": part.get("reason"),
        }
        for part in headline.get("parts") or ()
        if isinstance(part, Mapping)
    ]
    kept = {key: headline.get(key) for key in ("value", "interval", "reason")}
    return {"name": "relearning_gap", "role": "unlearned", "direction": "down", "parts": parts, **kept}


def _made(found: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    given = (found or {}).get("attacks")
    if not isinstance(given, Mapping):
        return {}
    return {str(name): each for name, each in list(given.items())[:40] if isinstance(each, Mapping)}


def _figures(each: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = each.get("figures") or ()
    return [figure for figure in given if isinstance(figure, Mapping)][:_MOST_ROWS]


def _title(name: str) -> tuple[str, str]:
    return _TITLES.get(name, (shorten(name.replace("_", " "), 80), ""))


def _outcome(name: str, each: Mapping[str, Any]) -> list[str]:
    """What a reader takes away from an attack: its headline, or the measure of the forget set that came back most."""
    headline = each.get("headline")
    if isinstance(headline, Mapping) and headline.get("name") == "relearning_gap":
        return [relearning_words(headline)]
    rows = [figure for figure in _figures(each) if _about_forgotten(figure)]
    known = [row for row in rows if finite(row.get("gap")) is not None]
    if not known:
        return []
    worst = max(known, key=lambda row: finite(row.get("gap")) or 0.0)
    after, before = worst.get("after") or {}, worst.get("before") or {}
    title = names.title(str(worst.get("measure")))
    values = [("as it is", before.get("unlearned")), ("attacked", after.get("unlearned"))]
    said = [f"{number(value)} {when}" for when, value in values if finite(value) is not None]
    against = f"the retrained model, attacked alike: {number(_retrained(after))}"
    return [shorten(f"{_title(name)[0]}, {_variant(worst)}. {title}: {', '.join(said)}; {against}.", 400)]


def relearning_words(headline: Mapping[str, Any]) -> str:
    """The relearning gap in a sentence.

    >>> relearning_words({"value": 0.25, "interval": [0.1, 0.4]})
    'Relearning gap: 0.2500 (95 % interval: 0.1000 to 0.4000); 0 = comes back as slowly as in the retrained model, \
1 = as if never forgotten.'
    """
    value, interval = finite(headline.get("value")), headline.get("interval")
    if value is None:
        return f"Relearning gap: not measured ({shorten(str(headline.get('reason') or 'no reason recorded'), 200)})."
    bounds = ""
    if isinstance(interval, Sequence) and not isinstance(interval, str) and len(interval) == 2:
        bounds = f" (95 % interval: {number(interval[0])} to {number(interval[1])})"
    scale = "0 = comes back as slowly as in the retrained model, 1 = as if never forgotten"
    return f"Relearning gap: {number(value)}{bounds}; {scale}."


def _about_forgotten(figure: Mapping[str, Any]) -> bool:
    measure = str(figure.get("measure"))
    return measure in ("forget_probability", "forget_leak", "probe_auc", "forget_accuracy")


def _part(name: str, each: Mapping[str, Any]) -> Part:
    title, about = _title(name)
    figures = _figures(each)
    first = _FIRST.get(name)
    rows = [_row(f) for f in figures if first is None or f.get("measure") in first]
    more = [_row(f) for f in figures if first is not None and f.get("measure") not in first]
    drawn = relearning.figures(each) if name == "relearning" else []
    return Part(title, about, rows, more, drawn, [shorten(str(note), 400) for note in (each.get("notes") or ())[:20]])


def _row(figure: Mapping[str, Any]) -> Row:
    before, after = figure.get("before") or {}, figure.get("after") or {}
    interval = figure.get("gap_interval")
    known = isinstance(interval, Sequence) and not isinstance(interval, str) and len(interval) == 2
    return Row(
        variant=_variant(figure),
        measure=shorten(names.title(str(figure.get("measure"))), 120),
        original=_number(before.get("original")),
        before=_number(before.get("unlearned")),
        after=number(after.get("unlearned")),
        retrained=_number(_retrained(after)),
        gap=_number(figure.get("gap"), signed=True),
        interval=f"{number(interval[0])} to {number(interval[1])}" if known and interval else "",
        recovery=_number(figure.get("recovery")) if "forget" in str(figure.get("measure")) else "–",
        reason=shorten(str(figure.get("reason") or ""), 200),
    )


def _variant(figure: Mapping[str, Any]) -> str:
    """What was done, in words: ``cluster, r 0.02`` names what was taught and the size of the steps."""
    given = str(figure.get("variant"))
    taught, comma, rate = given.partition(", r ")
    if comma and taught in relearning.TAUGHT:
        return f"taught {relearning.TAUGHT[taught]}, steps of {shorten(rate, 20)} of the model's scale"
    return _VARIANTS.get(given, shorten(given, 80))


def _retrained(values: Mapping[str, Any]) -> float | None:
    found = [finite(value) for role, value in values.items() if str(role).startswith("retrained")]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: object, *, signed: bool = False) -> str:
    return "–" if finite(value) is None else number(value, signed=signed)


def counts(found: Mapping[str, Any]) -> str:
    """How many attacks were made with how many seeds, in words."""
    seeds = found.get("seeds")
    several = counted(len(seeds), "seed") if isinstance(seeds, Sequence) and seeds else NOT_MEASURED
    return f"{counted(len(_made(found)), 'attack')}, {several} of what is drawn"
