"""``ofmu unlearn``."""

from __future__ import annotations

from collections.abc import Callable

from ofmu.cli import flags, settings, words
from ofmu.cli.endings import say_measured
from ofmu.cli.failures import DONE, underway
from ofmu.cli.flags import Given
from ofmu.cli.options import Option, options
from ofmu.cli.plans import plan_lines
from ofmu.cli.voice import Voice
from ofmu.runs import stored
from ofmu.runs.config import Unlearn
from ofmu.runs.directory import RunDirectory

TEXT = """Make a model forget examples and keep its abilities, and show both.

ofmu unlearn --model M --forget F --retain R --output RUN; ofmu unlearn METHOD --help shows a method's options.
"""
METHOD = "Method, see ofmu methods; ofmu if left out."


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for; its options depend on the method."""
    common = [option for option in options(Unlearn) if option.path != "method"] + flags.told_options()
    switches = flags.switches(common)
    spelt = words.spell_out_resume(given, _method_names() if "--resume" in given else ())
    seen = words.read(spelt, switches)
    only_help = bool({"--help", "-h"} & set(spelt)) and not seen.places
    name = None if only_help else _method_name(seen, resume="--resume" in spelt)
    found = [*common, *(method_options(name) if name is not None else [])]
    spelt = words.join_switches(spelt, flags.switches(found))
    return spelt, flags.command(found, run, text=TEXT, place="METHOD", place_text=METHOD)


def method_options(name: str) -> list[Option]:
    """The options of a method as ``--method.…``, presets filled in.

    Raises:
        InputError: there is no such method.
    """
    from ofmu import methods

    kind = methods.find(name)
    return options(kind, "method.", kind().resolved())


def run(given: Given) -> int:
    """Unlearn, or with ``--dry-run`` say what would be done."""
    with Voice(json=given.told.json, quiet=given.told.quiet) as voice:
        config = settings.configuration(Unlearn, given)
        return _dry(config, given, voice) if given.told.dry_run else _unlearn(config, given, voice)


def _unlearn(config: Unlearn, given: Given, voice: Voice) -> int:
    output = settings.output(given)
    with underway("unlearn", output), voice.listener() as listener:
        from ofmu.runs.unlearn import unlearn

        result = unlearn(config, output, resume=given.told.resume, listener=listener)
    say_measured("unlearn", result, voice)
    return DONE


def _dry(config: Unlearn, given: Given, voice: Voice) -> int:
    if given.told.output is not None:
        settings.output(given)
    from ofmu.runs.unlearn import plan

    planned = plan(config).as_dict()
    for line in (*planned.get("notes", ()), *plan_lines(planned)):
        voice.say(line)
    voice.say("dry run: everything given can be used; nothing was written")
    voice.result({"command": "unlearn", "dry_run": True, "plan": planned})
    return DONE


def _method_name(seen: words.Words, *, resume: bool) -> str:
    """The method among the words, in the file given, or in the run to be resumed.

    Raises:
        InputError: the file cannot be read.
    """
    if seen.places:
        return seen.places[0]
    file = seen.values.get("--config")
    if file is None and resume and "--output" in seen.values:
        stopped = RunDirectory(seen.values["--output"]).config
        file = stopped if stopped.is_file() else None
    method = stored.as_mapping(None if file is None else stored.read(file).get("method"))
    name = method.get("name") if isinstance(method, dict) else None
    return name if isinstance(name, str) else stored.DEFAULT_METHOD


def _method_names() -> list[str]:
    from ofmu import methods

    return methods.names()
