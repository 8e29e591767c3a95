"""``ofmu methods``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ofmu.cli import catalogue
from ofmu.cli.commands.unlearn import method_options
from ofmu.cli.failures import DONE
from ofmu.cli.flags import Switch
from ofmu.cli.voice import Voice


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for."""
    return given, methods


def methods(name: str | None = None, /, *, json: Switch = False) -> int:
    """The methods there are; one in full: formula, paper, options, cost, memory.

    Args:
        name: A method, or my_module:MyMethod.
        json: Print one JSON object.
    """
    with Voice(json=json) as voice:
        if name is None:
            _all(voice)
        else:
            _one(name, voice)
    return DONE


def _all(voice: Voice) -> None:
    from ofmu import methods

    kinds = {known: methods.find(known) for known in methods.names()}
    rows = [(known, catalogue.first_line(kind), kind.cost) for known, kind in kinds.items()]
    catalogue.show_list(voice, rows, ("method", "what it does", "cost and memory"))
    voice.say("One in full: ofmu methods NAME")
    voice.result({"methods": [{"name": row[0], "what": row[1], "cost": row[2]} for row in rows]})


def _one(name: str, voice: Voice) -> None:
    from ofmu import methods

    kind, found = methods.find(name), method_options(name)
    voice.say(name, "bold")
    for line in catalogue.description(kind):
        voice.say(line)
    voice.say()
    voice.say(f"paper: {kind.paper}")
    voice.say(f"cost and memory: {kind.cost}")
    if found:
        voice.say()
        catalogue.show_options(voice, found, f"Options of ofmu unlearn {name}")
    facts: dict[str, Any] = {
        "name": name,
        "description": "\n".join(catalogue.description(kind)),
        "paper": kind.paper,
        "cost": kind.cost,
        "options": catalogue.option_facts(found),
    }
    voice.result(facts)
