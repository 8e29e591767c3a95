"""``ofmu evaluate``."""

from __future__ import annotations

from collections.abc import Callable

from ofmu.cli import endings, flags, settings, words
from ofmu.cli.failures import DONE
from ofmu.cli.flags import Given
from ofmu.cli.options import options
from ofmu.cli.plans import plan_lines
from ofmu.cli.voice import Voice
from ofmu.runs.config import Evaluate

TEXT = """Measure what a model still knows of examples that it was to forget, and what it kept.

ofmu evaluate --model M --forget F --retain R --output RUN; with --original and --retrained beside it.
Nobody retrained one? --retrained auto --base M0 trains it, and says before what it costs: --dry-run.
Another tool has measured already? --from-log LOG scores what it wrote down, without any model.
"""


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for."""
    found = [*options(Evaluate), *flags.told_options(left_out=["resume"])]
    return words.join_switches(given, flags.switches(found)), flags.command(found, run, text=TEXT)


def run(given: Given) -> int:
    """Measure, or with ``--dry-run`` say what would be measured."""
    with Voice(json=given.told.json, quiet=given.told.quiet) as voice:
        config = settings.configuration(Evaluate, given)
        if given.told.dry_run:
            return _dry(config, given, voice)
        output = settings.output(given)
        with voice.listener() as listener:
            from ofmu.runs.evaluate import evaluate

            result = evaluate(config, output, listener=listener)
        endings.say_measured("evaluate", result, voice)
    return DONE


def _dry(config: Evaluate, given: Given, voice: Voice) -> int:
    if given.told.output is not None:
        settings.output(given)
    from ofmu.runs.evaluate import plan

    planned = plan(config)
    for line in (*planned["notes"], *plan_lines(planned)):
        voice.say(line)
    voice.say("dry run: everything given can be used; nothing was written")
    voice.result({"command": "evaluate", "dry_run": True, "plan": planned})
    return DONE
