"""Pages about methods and metrics, made from their code: formula, source, options."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ofmu.cli.options import Option
from ofmu.cli.voice import Voice
from ofmu.report.words import clean


def description(kind: type) -> list[str]:
    """A class's docstring, its indentation and markup for code taken away."""
    text = inspect.cleandoc(kind.__doc__ or "").replace("``", "`").replace("**", "")
    return text.splitlines()


def first_line(kind: type) -> str:
    """What it is, in one line."""
    return description(kind)[0] if kind.__doc__ else ""


def show_list(voice: Voice, rows: Sequence[Sequence[str]], titles: Sequence[str]) -> None:
    """A table without lines; on a terminal it fits the window."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, title in enumerate(titles):
        drawn.add_column(title, no_wrap=number == 0, style="bold" if number == 0 else None)
    for row in rows:
        drawn.add_row(*(Text(clean(cell)) for cell in row))
    voice.show(drawn)


def show_options(voice: Voice, found: Sequence[Option], shown_below: str) -> None:
    """Options with what they take, their default and range, and their text."""
    voice.say(shown_below, "bold")
    for option in found:
        limits = f" {option.limits}" if option.limits else ""
        voice.say(f"  {option.flag}  {option.type_name}{limits}")
        if option.text:
            voice.say(textwrap.indent(textwrap.fill(option.text, 96), "      "))


def option_facts(found: Sequence[Option]) -> list[dict[str, Any]]:
    """Options for programs."""
    return [
        {
            "flag": option.flag,
            "type": option.type_name,
            "default": option.default,
            "range": option.range or None,
            "text": option.text,
        }
        for option in found
    ]
