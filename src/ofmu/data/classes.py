"""One numbering of classes for all sets of a run.

A folder per class numbers its classes by the folders that it has: ``forget/cat`` alone calls the cat 0, where
``retain`` and the model say 3. The names are what they have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ofmu.data.examples import Examples, ImageExamples


def same_classes(sets: Mapping[str, Examples], model_names: Sequence[str] | None = None) -> dict[str, Examples]:
    """The sets with their labels counted in one list of class names.

    The list is the model's if it has all names of the sets; else that of the set whose list has all; else all names
    in alphabetical order. Sets whose classes have no names (integers in the file) keep their labels.

    Args:
        sets: name of the set → examples.
        model_names: what the model calls its classes, in the order of its outputs.
    """
    lists = [found.class_names for found in sets.values() if isinstance(found, ImageExamples) and found.class_names]
    if not lists:
        return dict(sets)
    every = {name for names in lists for name in names}
    candidates = [tuple(model_names or ()), *sorted(lists, key=len, reverse=True), tuple(sorted(every))]
    chosen = next(names for names in candidates if every <= set(names))
    return {
        name: found.with_classes(chosen) if isinstance(found, ImageExamples) else found for name, found in sets.items()
    }
