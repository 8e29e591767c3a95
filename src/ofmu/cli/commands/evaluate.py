"""``ofmu evaluate``."""

from __future__ import annotations

from collections.abc import Callable

from ofmu.cli import endings, flags, settings, words
from ofmu.cli.failures import DONE
from ofmu.cli.flags import Given
from ofmu.cli.options import options
from ofmu.cli.voice import Voice
from ofmu.runs.config import Evaluate

TEXT = """Measure what a model still knows of examples that it was to forget, and what it kept.

ofmu evaluate --model M --forget F --retain R --output RUN; with --original and --retrained beside it.
"""


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for."""
    found = [*options(Evaluate), *flags.told_options(left_out=["dry_run", "resume"])]
    return words.join_switches(given, flags.switches(found)), flags.command(found, run, text=TEXT)


def run(given: Given) -> int:
    """Measure."""
    with Voice(json=given.told.json, quiet=given.told.quiet) as voice:
        config = settings.configuration(Evaluate, given)
        output = settings.output(given)
        with voice.listener() as listener:
            from ofmu.runs.evaluate import evaluate

            result = evaluate(config, output, listener=listener)
        endings.say_measured("evaluate", result, voice)
    return DONE
