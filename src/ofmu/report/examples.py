"""Single examples: which are best remembered, which were damaged most, and those the user asked to see."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ofmu.report.story import ShownExample
from ofmu.report.words import NOT_MEASURED, count, finite, number, shorten

Distributions = Mapping[str, Mapping[str, Sequence[float]]]

_LISTED = 10
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXT = 2_000  # characters of one shown text
_ALL_SHOWN = 1_000_000  # bytes of all shown examples together: the page stays below 2 MB


@dataclass(frozen=True)
class Ranked:
    """An example in the list of best remembered or worst damaged ones, its numbers in words.

    Args:
        id: its id.
        before: its score before unlearning.
        after: the same after.
        retrained: the same of the retrained model.
        change: after minus before.
    """

    id: str
    before: str
    after: str
    retrained: str
    change: str


@dataclass(frozen=True)
class Shown:
    """An example with its content, made safe to print."""

    id: str
    set: str
    text: str
    image: Markup | None
    truth: str
    before: str
    after: str
    retrained: str


def best_remembered(per_example: Distributions, ids: Mapping[str, Sequence[str]]) -> list[Ranked]:
    """The ten forget examples that are likeliest after unlearning; scores are probabilities, exp(−loss)."""
    after = per_example.get("unlearned", {}).get("forget", ())
    order = sorted((value, index) for index, value in enumerate(after) if finite(value) is not None)
    return [_ranked("forget", index, per_example, ids, _probability) for _, index in order[:_LISTED]]


def worst_damaged(per_example: Distributions, ids: Mapping[str, Sequence[str]]) -> list[Ranked]:
    """The ten retain examples whose loss rose most; needs the losses before as well. Scores are losses in nats."""
    before = per_example.get("original", {}).get("retain", ())
    after = per_example.get("unlearned", {}).get("retain", ())
    if len(before) != len(after):
        return []
    rises = [(b - a, index) for index, (b, a) in enumerate(zip(before, after)) if finite(b - a) is not None]
    return [_ranked("retain", index, per_example, ids, finite) for _, index in sorted(rises)[:_LISTED]]


def _probability(loss: object) -> float | None:
    """exp(−loss): per token for text, of the label for images."""
    known = finite(loss)
    return None if known is None else math.exp(-known)


def _ranked(
    which: str,
    index: int,
    per_example: Distributions,
    ids: Mapping[str, Sequence[str]],
    score: Callable[[object], float | None],
) -> Ranked:
    known = ids.get(which, ())
    name = shorten(str(known[index]), 80) if index < len(known) else f"row {count(index)} of the set, from 0"
    values = [per_example.get(role, {}).get(which, ()) for role in ("original", "unlearned", "retrained")]
    scores = [score(each[index]) if index < len(each) else None for each in values]
    before, after, _ = scores
    change = NOT_MEASURED if before is None or after is None else number(after - before, signed=True)
    said = [number(each) for each in scores]
    return Ranked(name, said[0], said[1], said[2], change)


def shown(examples: Sequence[ShownExample]) -> tuple[list[Shown], str]:
    """Examples made safe to print, as many as fit on the page, and words about those left out."""
    fitting, used = [], 0
    for example in examples:
        made, size = _shown(example), _size(example)
        if used + size > _ALL_SHOWN:
            break
        fitting.append(made)
        used += size
    left_out = len(examples) - len(fitting)
    return fitting, f"{count(left_out)} more were left out to keep this page small." if left_out else ""


def _size(example: ShownExample) -> int:
    if isinstance(example.content, bytes):
        return len(example.content) * 4 // 3 + 1_000
    return 6 * min(len(example.content), _TEXT) + 6_000


def _shown(example: ShownExample) -> Shown:
    text, image = "", None
    if isinstance(example.content, str):
        text = shorten(example.content, _TEXT)
    elif example.content.startswith(_PNG):
        # base64 holds no character that could end the attribute
        image = Markup(f'<img alt="" src="data:image/png;base64,{base64.b64encode(example.content).decode()}">')
    else:
        text = "neither text nor a PNG image: cannot be shown"
    values = [_said(value) for value in (example.before, example.after, example.retrained)]
    truth = shorten(example.truth or "", 200)
    return Shown(shorten(example.id, 80), shorten(example.set, 40), text, image, truth, *values)


def _said(value: str | float | None) -> str:
    if isinstance(value, str):
        return shorten(value, 600)
    return "" if value is None else number(value)
