"""``ofmu metrics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ofmu.cli import catalogue
from ofmu.cli.failures import DONE
from ofmu.cli.flags import Switch
from ofmu.cli.voice import Voice

if TYPE_CHECKING:
    from ofmu.evaluation.metric import Metric

BETTER = {"up": "higher", "down": "lower", "as_retrained": "as the retrained model"}
MODALITY = {"text": "texts", "image": "images", "any": "texts and images"}


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for."""
    return given, metrics


def metrics(name: str | None = None, /, *, json: Switch = False) -> int:
    """The metrics there are; one in full: formula, source, what it needs, which way is better.

    Args:
        name: A metric.
        json: Print one JSON object.
    """
    with Voice(json=json) as voice:
        if name is None:
            _all(voice)
        else:
            _one(name, voice)
    return DONE


def _all(voice: Voice) -> None:
    from ofmu.evaluation.metrics import all_metrics

    known = all_metrics()
    rows = [
        (name, catalogue.first_line(kind), MODALITY[kind.modality], BETTER[kind.better], kind.unit)
        for name, kind in known.items()
    ]
    catalogue.show_list(voice, rows, ("metric", "what it measures", "of", "better", "unit"))
    voice.say("On the forget set best is always what the retrained model does. One in full: ofmu metrics NAME")
    voice.result({"metrics": [_facts(name, kind) for name, kind in known.items()]})


def _one(name: str, voice: Voice) -> None:
    from ofmu.evaluation.metrics import find

    kind = find(name)
    voice.say(name, "bold")
    for line in catalogue.description(kind):
        voice.say(line)
    voice.say()
    voice.say(f"of: {MODALITY[kind.modality]}")
    voice.say(f"needs: {', '.join(sorted(kind.needs)) or 'nothing beyond forget and retain set'}")
    voice.say(f"better: {BETTER[kind.better]}" + (f"; unit: {kind.unit}" if kind.unit else ""))
    voice.say(f"version of the definition: {kind.version}")
    voice.result(_facts(name, kind))


def _facts(name: str, kind: type[Metric]) -> dict[str, Any]:
    return {
        "name": name,
        "description": "\n".join(catalogue.description(kind)),
        "modality": kind.modality,
        "needs": sorted(kind.needs),
        "better": kind.better,
        "unit": kind.unit,
        "version": kind.version,
    }
