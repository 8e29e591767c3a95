"""``ofmu bench``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ofmu.cli import flags, words
from ofmu.cli.catalogue import show_list
from ofmu.cli.failures import DONE
from ofmu.cli.flags import Given
from ofmu.cli.options import options
from ofmu.cli.voice import Voice
from ofmu.errors import unknown

BENCHMARKS = {
    "tofu": "What language models still know of fictitious authors, in the public tables.",
    "muse": "Six ways to look at language models that were to forget a corpus, over files of MUSE's layout.",
    "objectives": "Where each forget objective turns concave, so that the penalty no longer undoes forgetting.",
    "evaluation": "How much faster measuring is than computing each metric in a pass of its own.",
    "convergence": "The theory run on problems with a known answer: rates, thresholds, schedules.",
    "coupling": "Does what is hard to forget cost more of the rest? Single digits, a small network.",
    "ulira": "Can single unlearned images be told from images never seen? Many small models on digits.",
    "cost": "What each form of a step costs against plain steps: time, gradients, memory, vectors held.",
    "derivatives": "Error and cost of each way to compute the curvature, on a model of one's own.",
    "klom": "How far unlearned models are from retrained ones, image by image. Many small models on digits.",
}

TEXT = "Benchmarks and studies: ofmu bench NAME. Options of one: ofmu bench NAME --help."
_NOT_TOLD = ("config", "output", "resume", "dry_run")


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for.

    Raises:
        InputError: there is no benchmark of the name.
    """
    name = next(iter(given), "")
    if not name or name.startswith("-"):
        return given, listed
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    module = importlib.import_module(f"ofmu.benchmarks.{name}")
    found = [*options(module.Options), *flags.told_options(left_out=_NOT_TOLD)]
    parsed = flags.command(
        found,
        lambda told: _run(name, module, told),
        text=str(module.__doc__),
        usage=f"Usage: ofmu bench {name} [OPTIONS]",
    )
    return words.join_switches(given[1:], flags.switches(found)), parsed


def listed() -> int:
    """Benchmarks and studies: ofmu bench NAME. Options of one: ofmu bench NAME --help."""
    with Voice() as voice:
        show_list(voice, list(BENCHMARKS.items()), ("benchmark", "what it shows"))
    return DONE


def _run(name: str, module: Any, given: Given) -> int:
    with Voice(json=given.told.json, quiet=given.told.quiet) as voice:
        from ofmu.benchmarks.plain import plain
        from ofmu.benchmarks.tables import shown, tables_of
        from ofmu.runs import typed

        output = given.told.output
        chosen = typed.checked(module.Options, given.values if output is None else {**given.values, "output": output})
        found = module.run(chosen, voice.say)
        for title, rows in tables_of(found).items():
            voice.say()
            voice.say(title, "bold")
            columns = [column for column in rows[0] if any(row.get(column) not in (None, "") for row in rows)]
            show_list(voice, [[shown(row.get(column)) for column in columns] for row in rows], columns)
        if output is not None:
            voice.say(f"written: {output}")
        path = None if output is None else Path(output)
        voice.result({"command": "bench", "benchmark": name, **plain(found)}, path)
    return DONE
