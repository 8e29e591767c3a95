"""Settings, hashes and cost as rows of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofmu.report.words import count, duration, finite, number, shorten

_MOST_ROWS = 400
_HISTORY_COST = {"steps": "step", "gradients": "gradients", "forwards": "forwards", "seconds": "seconds"}
_COST = {
    "gradients": "gradient evaluations",
    "forwards": "forward passes (counted apart)",
    "seconds": "wall-clock time",
    "wall_s": "wall-clock time",
    "peak_mb": "peak memory",
    "peak_memory_mb": "peak memory",
}


def rows(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A nested mapping as (dotted name, value in words); at most 400 rows, long values shortened.

    >>> rows({"method": {"name": "ofmu", "rho": None}, "seeds": [1, 2], "lora": {}})
    [('method.name', 'ofmu'), ('method.rho', 'not set'), ('seeds', '1, 2'), ('lora', 'none')]
    """
    found = _flat(mapping, "")
    if len(found) > _MOST_ROWS:
        more = f"{count(len(found) - _MOST_ROWS)} rows are in the run directory's own files"
        return [*found[:_MOST_ROWS], ("and more", more)]
    return found


def _flat(value: object, name: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        parts = [_flat(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()]
        return [row for part in parts for row in part]
    return [(shorten(name, 120), shorten(_words(value), 400))]


def _words(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if finite(value) is not None else "not a finite number"
    if isinstance(value, Mapping):
        return "none"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        shown = ", ".join(_words(each) for each in value[:12]) or "none"
        return shown if len(value) <= 12 else f"{shown} … ({count(len(value))} in all)"
    return str(value)


def cost(metrics: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What the run spent, from metrics.json or, failing that, the last line of its history."""
    stated = spent(metrics, history)
    return [(_COST.get(key, shorten(key.replace("_", " "), 120)), _cost_words(key, stated[key])) for key in stated]


def spent(metrics: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cost as metrics.json states it, completed from the last step of the history that counted it."""
    last = next((line for line in reversed(history) if "gradients" in line), {})
    known = {key: last[name] for key, name in _HISTORY_COST.items() if name in last}
    return known | dict(metrics.get("cost") or {})


def _cost_words(key: str, value: object) -> str:
    if key in {"seconds", "wall_s"}:
        return duration(value)
    if key in {"peak_mb", "peak_memory_mb"}:
        return f"{number(value)} MB"
    if isinstance(value, str):
        return shorten(value, 400)
    counted = key in {"steps", "gradients", "forwards"} or isinstance(value, int)
    return count(value) if counted else number(value)


def main(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The handful of settings that a reader wants first: what was done to which model with which data."""
    wanted = (("model", "Model"), ("method", "Method"), ("forget", "Forget set"), ("retain", "Retain set"),
              ("holdout", "Holdout"), ("retrained", "Retrained model"), ("seed", "Seed"))  # fmt: skip
    found = []
    for key, title in wanted:
        value = config.get(key)
        named = value.get("name") if isinstance(value, Mapping) else value
        if named not in (None, [], ()):
            found.append((title, _place(shorten(_words(named), 160))))
    return found


def _place(words: str) -> str:
    """The end of a long path; the settings further down have all of it."""
    parts = words.split("/")
    return f"…/{'/'.join(parts[-2:])}" if len(parts) > 3 else words
