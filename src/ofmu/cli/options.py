"""The options of a dataclass as a user sees them: names, types, defaults, ranges and the text beside each."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal

from ofmu.ranges import Range


@dataclass(frozen=True)
class Option:
    """One option, nested ones by their path.

    Args:
        path: e.g. ``"lora.rank"``, as in YAML.
        kind: what a flag takes: bool, int, float, str, a Literal, or list[str].
        default: the value if left out; None where something is found out instead.
        range: of numbers, e.g. ``"> 0"``; empty if none is stated.
        text: the attribute's docstring, on one line.
    """

    path: str
    kind: Any
    default: Any
    range: str
    text: str

    @property
    def flag(self) -> str:
        """E.g. ``--lora.rank``, ``--batch-size``."""
        return "--" + self.path.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...]:
        """The values allowed; empty if any is."""
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is Literal else ()

    @property
    def type_name(self) -> str:
        """The type in a word, or the choices."""
        names = {int: "whole number", float: "number", str: "text", bool: "switch"}
        return " | ".join(self.choices) or names.get(self.kind, "text, may be repeated")

    @property
    def limits(self) -> str:
        """Default and range in brackets; empty if there is nothing to say.

        >>> Option("beta", float, 0.1, "> 0", "").limits
        '[default 0.1; > 0]'
        """
        said = self.default is not None and self.default is not False and self.default != ()
        parts = [f"default {shown(self.default)}"] if said else []
        parts += [self.range] if self.range else []
        return f"[{'; '.join(parts)}]" if parts else ""


def shown(value: Any) -> str:
    """A default as a user would type it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def options(kind: type, prefix: str = "", defaults: Any = None) -> list[Option]:
    """All options of a dataclass, those of nested dataclasses in their place.

    Args:
        kind: the dataclass.
        prefix: in front of every path, e.g. ``"method."``.
        defaults: an instance whose values are shown as defaults; the dataclass's own if left out.
    """
    hints, texts = typing.get_type_hints(kind, include_extras=True), attribute_texts(kind)
    found = []
    for field in dataclasses.fields(kind):
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        inner = _without_none(hints[field.name])
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            found += options(inner, f"{prefix}{field.name}.", default)
        else:
            kind_, limits = _kind_and_range(inner)
            found.append(Option(prefix + field.name, kind_, default, limits, texts.get(field.name, "")))
    return found


@cache
def attribute_texts(kind: type) -> dict[str, str]:
    """Field → its docstring on one line, code unmarked, base classes' fields too."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]).body
        for first, second in pairwise(body):
            if (
                isinstance(first, ast.AnnAssign)
                and isinstance(first.target, ast.Name)
                and isinstance(second, ast.Expr)
                and isinstance(second.value, ast.Constant)
                and isinstance(second.value.value, str)
            ):
                texts[first.target.id] = " ".join(second.value.value.replace("`", "").split())
    return texts


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if field.default_factory is dataclasses.MISSING else field.default_factory()


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _kind_and_range(hint: Any) -> tuple[Any, str]:
    limits = ""
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        limits = next((str(extra) for extra in extras if isinstance(extra, Range)), "")
        hint = _without_none(hint)
    if typing.get_origin(hint) is tuple:
        return list[str], limits
    return (str if hint is Any else hint), limits
