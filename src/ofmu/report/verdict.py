"""The first thing on the page: what was forgotten, what it cost, what is not shown, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ofmu.report import evidence, facts
from ofmu.report.attacks import Section
from ofmu.report.headline import Table
from ofmu.report.words import count, duration, finite, shorten

_AGAINST = {
    "retrained": "Measured against a model retrained without the data.",
    "never-seen data": "Measured against a base model that saw neither forget set nor holdout.",
    "holdout": (
        "There was no reference model: the forget set is held against the holdout, which shows whether it stands out "
        "from never-seen data, and not whether it is as after retraining."
    ),
    "nothing": "There was no reference model: the numbers are shown, but not judged.",
}
_FIGURE = re.compile(r": (?:-?[\d.]+ before, )?-?[\d.]+ now\b")  # a sentence that states one measured figure
_NOT_BROUGHT_BACK = re.compile(
    r"^(Not shown: whether the knowledge can be brought back|None of these figures comes from)"
)
_BEGINNING = 280  # characters of the verdict that are set in large type
_FEW = 5  # figures that may stand among the words
_Answer = tuple[str, Literal["good", "bad", "open"]]
# key → (question, (answer, tone) if true, if false, if null)
_FINDINGS: dict[str, tuple[str, _Answer, _Answer, _Answer]] = {
    "forgotten": ("Forgotten?", ("Yes", "good"), ("No", "bad"), ("Undecided", "open")),
    "over_forgotten": ("Pushed too far?", ("Yes", "bad"), ("No", "good"), ("Undecided", "open")),
    "utility_kept": ("Abilities kept?", ("Yes", "good"), ("No", "bad"), ("Undecided", "open")),
}
_UNTOLD = {"forgotten": "Forgotten: cannot be told", "utility_kept": "What it cost in ability cannot be told"}
"""How the sentences say that a question has no answer at all, where evidence alone would not decide it."""


@dataclass(frozen=True)
class Finding:
    """One of the three questions and its answer."""

    question: str
    answer: str
    tone: Literal["good", "bad", "open"]


@dataclass(frozen=True)
class Card:
    """What the verdict card holds, all of it words.

    Args:
        words: how the verdict begins, as evaluation put it.
        reasons: the sentences after that.
        evidence: those among them that state a figure each, where they are too many to be read first.
        findings: forgotten, over-forgotten, utility kept.
        against: what the verdict rests on.
        figures: the numbers that belong beside it.
        cost: what it cost, a sentence; empty if nothing was recorded.
        ended: how the run ended, empty if that is not known.
        facts: model, method, data, seed.
        tone: good, bad or open: the card's edge.
    """

    words: str
    reasons: list[str]
    evidence: list[str]
    findings: list[Finding]
    against: str
    figures: list[str]
    cost: str
    ended: str
    facts: list[tuple[str, str]]
    tone: Literal["good", "bad", "open"]


def card(
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    table: Table | None,
    attacks: Section | None = None,
) -> Card:
    """The verdict card of a run; a run without a verdict says so.

    Where attacks after unlearning were made, what came of them stands in the place of the sentence that none were.
    """
    verdict = metrics.get("verdict") or {}
    found = [_finding(key, verdict) for key in _FINDINGS]
    tones = {finding.tone for finding in found}
    words, reasons, figures = paragraphs(verdict.get("words"))
    stated = [*reasons, *figures]
    if attacks is not None:
        reasons = [sentence for sentence in reasons if not _NOT_BROUGHT_BACK.match(sentence)]
        reasons += [*attacks.words[:1], "What each attack brought back stands further down."]
    ended = manifest.get("ended")
    return Card(
        words=words,
        reasons=reasons,
        findings=found,
        against=_against(verdict),
        evidence=figures,
        figures=evidence.in_figures(table) if figures or not stated else [],
        cost=_cost(metrics, history),
        ended=shorten(ended, 400) if isinstance(ended, str) else "",
        facts=facts.main(config),
        tone="bad" if "bad" in tones else "open" if "open" in tones else "good",
    )


def paragraphs(stated: object) -> tuple[str, list[str], list[str]]:
    """The words of a verdict for a reader: how they begin, the sentences that judge, those that state one figure each.

    Args:
        stated: the verdict's words as evaluation put them.
    """
    words, *others = _sentences(stated)
    return (words, *_apart(others))


def _sentences(stated: object) -> list[str]:
    """The verdict's beginning, a few sentences, and the others one by one: a wall of words is not read.

    A full stop ends a sentence where a capital letter follows; what is cut after 4,000 characters says so.
    """
    if not isinstance(stated, str) or not stated.strip():
        return ["No verdict was recorded."]
    first, *others = re.split(r"(?<=[.!?])\s+(?=[A-Z“])", shorten(stated.strip(), 4_000))
    while others and len(first) + len(others[0]) < _BEGINNING:
        first += " " + others.pop(0)
    return [first, *others]


def _apart(reasons: list[str]) -> tuple[list[str], list[str]]:
    """The sentences that judge, and those that state one figure each, if those are many."""
    figures = [sentence for sentence in reasons if _FIGURE.search(sentence)]
    if len(figures) <= _FEW:
        return reasons, []
    return [sentence for sentence in reasons if sentence not in figures], figures


def _against(verdict: Mapping[str, Any]) -> str:
    stated = str(verdict.get("against"))
    if stated not in _AGAINST or stated == "nothing":
        stated = "holdout" if verdict.get("against_holdout") else "nothing"
    return _AGAINST[stated]


def _finding(key: str, verdict: Mapping[str, Any]) -> Finding:
    """One question and its answer, in the word that the sentences have for it."""
    question, yes, no, unknown = _FINDINGS[key]
    state, words = verdict.get(key), str(verdict.get("words"))
    nothing = key == "over_forgotten" and verdict.get("against") == "nothing"
    if nothing or (key in _UNTOLD and _UNTOLD[key] in words):
        unknown = ("Cannot be told", "open")
    answer, tone = yes if state is True else no if state is False else unknown
    return Finding(question, answer, tone)


def _cost(metrics: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    stated = facts.spent(metrics, history)
    gradients, seconds = finite(stated.get("gradients")), finite(stated.get("seconds"))
    parts = [f"{count(gradients)} gradient evaluations"] if gradients else []
    parts += [duration(seconds)] if seconds is not None else []
    return f"It cost {' and '.join(parts)}." if parts else ""
