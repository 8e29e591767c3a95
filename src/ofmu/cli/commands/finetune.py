"""``ofmu finetune``."""

from __future__ import annotations

from collections.abc import Callable

from ofmu.cli import endings, flags, settings, words
from ofmu.cli.failures import DONE, underway
from ofmu.cli.flags import Given
from ofmu.cli.options import options
from ofmu.cli.voice import Voice
from ofmu.runs.config import Finetune

TEXT = """Train a model on examples.

ofmu finetune --model M --data D --output RUN; M may also be a configuration, to start from random weights.
"""


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for."""
    found = [*options(Finetune), *flags.told_options(left_out=["dry_run"])]
    spelt = words.join_switches(words.spell_out_resume(given, ()), flags.switches(found))
    return spelt, flags.command(found, run, text=TEXT)


def run(given: Given) -> int:
    """Train."""
    with Voice(json=given.told.json, quiet=given.told.quiet) as voice:
        config = settings.configuration(Finetune, given)
        output = settings.output(given)
        with underway("finetune", output), voice.listener() as listener:
            from ofmu.runs.finetune import finetune

            result = finetune(config, output, resume=given.told.resume, listener=listener)
        endings.say_cost(result.manifest, voice)
        endings.say_places("finetune", result, voice)
    return DONE
