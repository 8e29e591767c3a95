"""Metrics by name: the package's own, one a file whose name is the metric's, and those that other code offers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from importlib.metadata import entry_points

from ofmu import own_code
from ofmu.errors import InputError, unknown
from ofmu.evaluation.metric import Metric, file_name


def all_metrics() -> dict[str, type[Metric]]:
    """Name → class of every metric of the package and of the entry-point group ``ofmu.metrics``.

    Raises:
        InputError: if an entry point gives something that is no metric.
    """
    found: dict[str, type[Metric]] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        found[module] = _metric_of(f"{__name__}.{module}")
    for entry in entry_points(group="ofmu.metrics"):
        kind = entry.load()
        if not (isinstance(kind, type) and issubclass(kind, Metric)):
            raise InputError(f"the entry point '{entry.name}' of ofmu.metrics is {kind!r}, not a Metric class")
        found[entry.name] = kind
    return found


def find(name: str) -> type[Metric]:
    """The metric of this name, or at a place ``my_module:MyMetric``.

    Raises:
        InputError: there is none; names the nearest.
    """
    if ":" in name:
        return _own(name)
    known = all_metrics()
    if name not in known:
        raise unknown("metric", name, known)
    return known[name]


def with_further(names: Iterable[str]) -> list[type[Metric]]:
    """All metrics there are, and further ones by their places.

    Raises:
        InputError: one cannot be loaded, or its file has the name of another metric.
    """
    known = all_metrics()
    for name in names:
        kind = _own(name)
        own = file_name(kind)
        if known.setdefault(own, kind) is not kind:
            raise InputError(
                f"metric '{name}' would be called '{own}' after its file, and that name is taken; rename the file"
            )
    return list(known.values())


def _metric_of(module_name: str) -> type[Metric]:
    module = importlib.import_module(module_name)
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Metric) and kind.__module__ == module_name
    ]
    if len(kinds) != 1:
        raise TypeError(f"{module_name} must hold exactly one Metric class, not {len(kinds)}")
    return kinds[0]


def _own(name: str) -> type[Metric]:
    """The metric at a place.

    Args:
        name: ``my_module:MyMetric``; the module may lie in the present folder.

    Raises:
        InputError: there is nothing there, or it is no metric.
    """
    module, colon, attribute = name.partition(":")
    if name in all_metrics():
        raise InputError(f"metric '{name}' is built in and measured in any case; leave it out")
    if not (module and colon and attribute):
        raise InputError(f"metric '{name}' is no place of a class; give it as my_module:MyMetric")
    kind = own_code.load("metric", name)
    if not (isinstance(kind, type) and issubclass(kind, Metric)) or inspect.isabstract(kind):
        raise InputError(
            f"'{name}' is no metric: it must be a class on ofmu.evaluation.metric.Metric that defines all it asks for"
        )
    return kind
