"""Metrics of one's own: a class in any file, named by its place, ``my_module:MyMetric``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from ofmu import own_code
from ofmu.errors import InputError
from ofmu.evaluation.metric import Metric, all_metrics, file_name


def load(name: str) -> type[Metric]:
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


def with_further(names: Iterable[str]) -> list[type[Metric]]:
    """All metrics there are, and further ones by their places.

    Raises:
        InputError: one cannot be loaded, or its file has the name of another metric.
    """
    known = all_metrics()
    for name in names:
        kind = load(name)
        own = file_name(kind)
        if known.setdefault(own, kind) is not kind:
            raise InputError(
                f"metric '{name}' would be called '{own}' after its file, and that name is taken; rename the file"
            )
    return list(known.values())
