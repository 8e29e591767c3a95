"""Attacks for people: what each brought back, in a table and a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofmu.cli import catalogue
from ofmu.cli.voice import Voice
from ofmu.report.words import finite, number

SHOWN = {
    "relearning": ("untaught_forget_loss", "untaught_forget_probability"),
    "quantisation": ("forget_probability", "retain_probability", "forget_accuracy", "retain_accuracy"),
    "prompts": ("forget_probability", "forget_extraction_strength"),
}
"""Attack → measures that the table shows; all where nothing is said."""

TITLES = ("attack", "variant", "measure", "unlearned before", "after", "retrained after", "gap", "recovery")


def tell(findings: Mapping[str, Any], voice: Voice) -> None:
    """Print a table of all attacks, their headlines and notes."""
    rows = [
        _row(name, figure)
        for name, found in findings["attacks"].items()
        for figure in found["figures"]
        if name not in SHOWN or figure["measure"] in SHOWN[name]
    ]
    voice.say()
    catalogue.show_list(voice, rows, TITLES)
    for found in findings["attacks"].values():
        if found["headline"] is not None:
            voice.say(headline(found["headline"]))
    for name, reason in findings["left_out"].items():
        voice.say(f"{name}: not done, {reason}")
    for note in [*findings["notes"], *(note for found in findings["attacks"].values() for note in found["notes"])]:
        voice.say(f"note: {note}")


def headline(found: Mapping[str, Any]) -> str:
    """A headline in a line.

    >>> headline({"name": "relearning_gap", "value": 0.25, "interval": None, "reason": None})
    'relearning gap: 0.2500 (0 as retrained, 1 as before unlearning)'
    """
    name = found["name"].replace("_", " ")
    if finite(found["value"]) is None:
        return f"{name}: not measured ({found['reason']})"
    interval: Sequence[float] | None = found["interval"]
    bounds = f" [{number(interval[0])}, {number(interval[1])}]" if interval else ""
    return f"{name}: {number(found['value'])}{bounds} (0 as retrained, 1 as before unlearning)"


def _row(name: str, figure: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = figure["before"], figure["after"]
    return (
        name,
        figure["variant"],
        figure["measure"].replace("_", " "),
        _known(before.get("unlearned")),
        _known(after.get("unlearned")),
        _known(_retrained(after)),
        _known(figure["gap"], signed=True),
        _known(figure["recovery"]),
    )


def _retrained(values: Mapping[str, float | None]) -> float | None:
    found = [value for role, value in values.items() if role.startswith("retrained") and value is not None]
    return sum(found) / len(found) if found else None


def _known(value: object, *, signed: bool = False) -> str:
    return "–" if finite(value) is None else number(value, signed=signed)
