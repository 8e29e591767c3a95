"""Labels beside the curves that they name, where a legend would send the eye to and fro."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ofmu.report.frame import LETTER, Frame, tone
from ofmu.report.svg import element
from ofmu.report.words import brief

Point = tuple[float, float]
Floats = NDArray[np.float64]
_TALL = 13.0  # height of a label's box
_LONGEST = 26  # letters
_ALONE = 6.0  # nearer to another curve than this, a point is no place to name one
_OFFSETS = (14.0, 4.0, -6.0, 28.0, -20.0, 44.0, 60.0, 76.0, 92.0, 108.0, 124.0)  # of the baseline from the curve


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def apart(self, other: _Box) -> bool:
        across = self.right < other.left or other.right < self.left
        return across or self.bottom < other.top or other.bottom < self.top

    def distances(self, points: Floats) -> Floats:
        """Of points (n, 2) from the box: (n,), 0 inside."""
        across = np.maximum(0, np.maximum(self.left - points[:, 0], points[:, 0] - self.right))
        along = np.maximum(0, np.maximum(self.top - points[:, 1], points[:, 1] - self.bottom))
        return np.hypot(across, along)


def place_labels(frame: Frame, curves: Sequence[tuple[str, str, Sequence[Point]]]) -> list[Markup]:
    """A label for each curve, near it, off the other labels and, where there is room, off all curves.

    Args:
        frame: the chart.
        curves: (label, tone, points on the paper) in the order in which they may choose their places.

    Returns:
        Texts, and thin leaders for those that stand away from their curve; a curve for which there is no room gets
        none (its tooltip still names it).
    """
    dense = [_dense(points) for _, _, points in curves]
    taken: list[_Box] = []
    parts: list[Markup] = []
    for index, (label, colour, _) in enumerate(curves):
        words = brief(label, _LONGEST)
        others = np.concatenate([points for other, points in enumerate(dense) if other != index] or [np.empty((0, 2))])
        found = _best(frame, len(words) * LETTER, dense[index], others, taken)
        if found is None:
            continue
        box, anchor = found
        taken.append(box)
        if min(abs(box.top - anchor[1]), abs(box.bottom - anchor[1])) > _TALL:
            y = box.top if box.top > anchor[1] else box.bottom
            ends = {"x1": anchor[0], "y1": anchor[1], "x2": min(max(anchor[0], box.left), box.right), "y2": y}
            parts.append(element("line", **ends, class_=f"{tone(colour)} leader"))
        at = {"x": box.left + 1, "y": box.bottom - 3}
        parts.append(element("text", words, **at, class_=f"{tone(colour)} beside"))
    return parts


def _best(frame: Frame, wide: float, own: Floats, others: Floats, taken: Sequence[_Box]) -> tuple[_Box, Point] | None:
    """The box that is nearest to its curve, with the fewest points of other curves near it, and its point there."""
    best: tuple[float, _Box, Point] | None = None
    for x, y in own[:: max(1, len(own) // 24)].tolist():
        shared = float(np.hypot(*(others - (x, y)).T).min(initial=math.inf)) < _ALONE
        for offset in _OFFSETS:
            for left in (x + 4, x - wide - 4, x - wide / 2):
                box = _Box(left, y + offset - _TALL + 3, left + wide + 2, y + offset + 3)
                if not _inside(frame, box) or not all(box.apart(other) for other in taken):
                    continue
                away, near = box.distances(others), box.distances(own)
                cost = 4 * int((away == 0).sum()) + int((near == 0).sum()) + abs(offset) / 6 + 16 * shared
                cost += 8 * (away.min(initial=math.inf) < near.min() + 2)  # it would seem to name another curve
                if best is None or cost < best[0]:
                    best = (cost, box, (x, y))
    return None if best is None else best[1:]


def _inside(frame: Frame, box: _Box) -> bool:
    across = box.left > frame.left + 2 and box.right < frame.right
    return across and box.top >= frame.top and box.bottom <= frame.bottom - 2


def _dense(points: Sequence[Point], step: float = 6.0) -> Floats:
    """The curve as points (n, 2) at most ``step`` apart, so that no box slips between two of them."""
    dense: list[Point] = list(points[:1])
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        parts = max(1, math.ceil(math.hypot(x2 - x1, y2 - y1) / step))
        dense += [(x1 + (x2 - x1) * k / parts, y1 + (y2 - y1) * k / parts) for k in range(1, parts + 1)]
    return np.array(dense)
