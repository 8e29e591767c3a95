"""Share of images that are given their label."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, Self

import numpy as np

from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.table import Values


class Accuracy(SetMean):
    """Mean of [argmax_j p_j = y] over the images of a set, ties to the lowest class.

    A share in [0, 1]. Up on what should stay, as retrained on the forget set. Where whole classes were to be
    forgotten, the accuracy on test and holdout leaves these classes out, and
    ``test_accuracy_forgotten_class`` is about them only.

    Source: METRICS.md §8. Differs: a share and not per cent, as every other metric here.

    Args:
        on: the set.
        classes: the removed classes, or None.
        only: count these classes only, instead of leaving them out.
    """

    better: ClassVar = "up"
    needs: ClassVar = frozenset({"answers"})
    modality: ClassVar = "image"
    unit: ClassVar = "share"

    def __init__(self, on: str, classes: Collection[int] = (), *, only: bool = False) -> None:
        super().__init__(on)
        self._classes = np.array(sorted(classes), dtype=np.int64)
        self._only = only
        if only:
            self.name += "_forgotten_class"
            self.direction = "as_retrained"

    @classmethod
    def over(cls, records: Records) -> Sequence[Self]:
        """One instance a set, and one of the removed classes in the test set if there are any."""
        removed = records.removed_classes
        instances = [cls("forget"), cls("retain"), cls("holdout", removed), cls("test", removed)]
        return [*instances, cls("test", removed, only=True)] if removed else instances

    def values(self, record: Record) -> Values:
        """1 for an image given its label, else 0."""
        label = record.columns["label"]
        part = None
        if len(self._classes):
            part = np.isin(label, self._classes) == self._only
        return Values((record.columns["predicted"] == label).astype(np.float64), part=part)
