"""From the options of dataclasses to a command with flags, and from the flags given back to nested values.

Only what was given comes back: defaults are the dataclasses' business, so that a file given with ``--config`` shows
through where no flag was set.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

from ofmu.cli.options import Option, options


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is said to the command itself and is no part of a configuration."""

    config: str | None = None
    """YAML file with options; flags given beside it win."""
    output: str | None = None
    """Folder of the run; must be empty or new."""
    resume: bool = False
    """Go on with the run in --output, which was stopped; --resume RUN for short."""
    dry_run: bool = False
    """Check all input, print the plan and the forecast of memory and time, and stop."""
    json: bool = False
    """Print one JSON object on standard output, and everything else on standard error."""
    quiet: bool = False
    """Print nothing but the path of the result."""


@dataclass(frozen=True)
class Given:
    """What a command was given.

    Args:
        places: words that belong to no flag, in order.
        values: option → value as nested mappings, only those given.
        told: see :class:`Told`.
    """

    places: tuple[str, ...]
    values: dict[str, Any]
    told: Told


_DATA = (
    "model",
    "forget",
    "retain",
    "data",
    "forget_ids",
    "holdout",
    "test",
    "retrained",
    "original",
    "base",
    "recipe",
    "retrained_seeds",
    "from_log",
    "original_log",
    "retrained_log",
    "metrics",
    "tokenizer",
    "format",
    "cluster_by",
    "allow_overlap",
)
_SAFETY = ("trust_remote_code", "allow_pickle", "show_examples")
_RUN = ("checkpoint_every", "checkpoint_steps", "log_to", "cache")

_GROUPS = {
    name: Group(name, sort_key=number)
    for number, name in enumerate(
        ("Models and data", "Course", "Options of the method", "Adapters", "Safety and privacy", "Run and output")
    )
}


def whole(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number, also written as 1e3 or 2.0, as in a configuration file; the parser's own way rounds.

    Args:
        kind: the type of the parameter.
        tokens: the words given; the last counts.

    Raises:
        ValueError: the word is no whole number.
    """
    word = tokens[-1].value
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not number.is_integer():
        raise ValueError(f'"{word}" is no whole number')
    return int(word) if word.lstrip("+-").isdecimal() else int(number)


Whole = Annotated[int, Parameter(converter=whole)]
"""A parameter that takes a whole number."""

Switch = Annotated[bool, Parameter(negative=(), show_default=False)]
"""A parameter that is off unless it is given."""


def told_options(left_out: Iterable[str] = ()) -> list[Option]:
    """The options of :class:`Told`, without some."""
    without = set(left_out)
    return [option for option in options(Told) if option.path not in without]


def command(
    found: Iterable[Option],
    run: Callable[[Given], int],
    *,
    text: str,
    place: str = "",
    place_text: str = "",
    usage: str | None = None,
) -> Callable[..., int]:
    """A function that cyclopts can parse for.

    Args:
        found: the options, those of :class:`Told` among them.
        run: what to do.
        text: help of the command.
        place: name of the one word that needs no flag, if there is one.
        place_text: its help.
        usage: the first line of the help; made from the command's name if left out.
    """
    by_name = {_identifier(option.path): option for option in sorted(found, key=_place)}
    parameters = [_positional(place, place_text)] if place else []
    parameters += [_parameter(name, option) for name, option in by_name.items()]

    def parsed(*places: str, **flags: Any) -> int:
        values = {by_name[name].path: value for name, value in flags.items() if value is not None}
        told = {name: values.pop(name) for name in list(values) if name in Told.__dataclass_fields__}
        return run(Given(tuple(word for word in places if word is not None), nested(values), Told(**told)))

    parsed.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    parsed.__doc__ = text
    parsed.usage = usage  # pyright: ignore[reportFunctionMemberAccess]
    return parsed


def switches(found: Iterable[Option]) -> set[str]:
    """The flags that take no value."""
    return {"--help", *(option.flag for option in found if option.kind is bool)}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by path as values in mappings.

    >>> nested({"lora.rank": 8, "seed": 1})
    {'lora': {'rank': 8}, 'seed': 1}
    """
    made: dict[str, Any] = {}
    for path, value in values.items():
        *rooms, name = path.split(".")
        inner = made
        for room in rooms:
            inner = inner.setdefault(room, {})
        inner[name] = value
    return made


def _place(option: Option) -> int:
    """Models and data in the order in which one thinks of them; the others as they come."""
    return _DATA.index(option.path) if option.path in _DATA else len(_DATA)


def _identifier(path: str) -> str:
    return path.replace(".", "__")


def _positional(name: str, text: str) -> inspect.Parameter:
    hint = Annotated[str | None, Parameter(help=text, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY, default=None, annotation=hint)


def _parameter(name: str, option: Option) -> inspect.Parameter:
    flag = Parameter(
        name=option.flag,
        converter=whole if option.kind is int else None,
        help=f"{option.text} {option.limits}".strip(),
        group=_GROUPS[_group(option.path)],
        show_default=False,
        negative=(),  # `--no-switch` is read before, and would only fill the help
    )
    hint = Annotated[option.kind | None, flag]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)


def _group(path: str) -> str:
    room = path.split(".")[0]
    if room == "method":
        return "Options of the method"
    if room == "lora":
        return "Adapters"
    if room in _DATA:
        return "Models and data"
    if room in _SAFETY:
        return "Safety and privacy"
    return "Run and output" if room in _RUN or room in Told.__dataclass_fields__ else "Course"
