"""The commands there are. Only the one that is asked for is loaded, so that ``ofmu --help`` is quick."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cyclopts import App

from ofmu.version import __version__


@dataclass(frozen=True)
class Command:
    """A command of ``ofmu``.

    Args:
        text: its line in ``ofmu --help``.
        module: where its ``command(words)`` is: given the words after the command's name, the words to parse and
            the function to parse them for.
    """

    text: str
    module: str


COMMANDS = {
    "demo": Command("The two built-in stories: digits and people are forgotten, and it is measured.", "demo"),
    "unlearn": Command("Make a model forget examples and keep its abilities, and show both.", "unlearn"),
    "finetune": Command("Train a model on examples.", "finetune"),
    "evaluate": Command("Measure what a model still knows of examples that it was to forget.", "evaluate"),
    "methods": Command("The methods there are; one in full.", "methods"),
    "metrics": Command("The metrics there are; one in full.", "metrics"),
    "attack": Command("What brings the forgotten back: relearning, quantisation, prompts and more.", "attack"),
    "bench": Command("Benchmarks and studies; one in full.", "bench"),
    "report": Command("Draw the report of runs again, into new files.", "report"),
    "verify": Command("Check every hash of a run.", "verify"),
}

HELP = """Machine unlearning that forgets, keeps what should stay, and shows both.

Options of a command: ofmu COMMAND --help; those of a method: ofmu unlearn METHOD --help.
A switch is turned off by --switch off or --no-switch."""

INSTALL = "Install completion of commands and options for this shell."

_COMPLETION = ("--install-completion", "__complete")


def prepare(words: Sequence[str]) -> tuple[App, list[str]]:
    """The application with the command asked for, and the words that it is to parse.

    Raises:
        InputError: a file that must be read to know the options cannot be used.
    """
    app = App(
        name="ofmu",
        version=__version__,
        help=HELP,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        help_format="plaintext",  # quicker than Markdown by a third of the time that --help takes
    )
    parsed = list(words)
    everything = bool(words) and words[0] in _COMPLETION
    for number, (name, known) in enumerate(COMMANDS.items()):
        if everything or words[:1] == [name]:
            rest, function = _load(known, words[1:] if not everything else [])
            app.command(function, name=name, sort_key=number, usage=getattr(function, "usage", None))
            parsed = parsed if everything else [name, *rest]
        else:
            app.command(_not_loaded, name=name, help=known.text, sort_key=number)
    if everything:
        app.register_install_completion_command(help=INSTALL)
    else:
        app.command(_not_loaded, name=_COMPLETION[0], help=INSTALL)
    return app, parsed


def _load(known: Command, words: Sequence[str]) -> tuple[list[str], Callable[..., Any]]:
    module = importlib.import_module(f"ofmu.cli.commands.{known.module}")
    return module.command(list(words))


def _not_loaded() -> None:
    """Stands for a command of which only the line in the list is needed."""
