"""Labels beside the curves that they name, where a legend would send the eye to and fro."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ofmu.report.frame import LETTER, Frame, tone
from ofmu.report.svg import element
from ofmu.report.words import brief

Point = tuple[float, float]
_TALL = 13.0  # height of a label's box
_LONGEST = 26  # letters
_OFFSETS = (14.0, -6.0, 28.0, -20.0, 44.0, 60.0, 76.0, 92.0, 108.0, 124.0)  # of the baseline from the curve


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def apart(self, other: _Box) -> bool:
        across = self.right < other.left or other.right < self.left
        return across or self.bottom < other.top or other.bottom < self.top

    def holds(self, point: Point) -> bool:
        return self.left <= point[0] <= self.right and self.top <= point[1] <= self.bottom


def place_labels(frame: Frame, curves: Sequence[tuple[str, str, Sequence[Point]]]) -> list[Markup]:
    """A label for each curve, near it, off the other labels and, where there is room, off all curves.

    Args:
        frame: the chart.
        curves: (label, tone, points on the paper) in the order in which they may choose their places.

    Returns:
        Texts, and thin leaders for those that stand away from their curve; a curve for which there is no room gets
        none (its tooltip still names it).
    """
    everywhere = [point for _, _, points in curves for point in _dense(points)]
    taken: list[_Box] = []
    parts: list[Markup] = []
    for label, colour, points in curves:
        words = brief(label, _LONGEST)
        found = _best(frame, len(words) * LETTER, _dense(points), everywhere, taken)
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


def _best(
    frame: Frame, wide: float, own: Sequence[Point], everywhere: Sequence[Point], taken: Sequence[_Box]
) -> tuple[_Box, Point] | None:
    """The box with the fewest points of curves below it, and the point that it belongs to."""
    best: tuple[float, _Box, Point] | None = None
    for x, y in own[:: max(1, len(own) // 24)]:
        for offset in _OFFSETS:
            for left in (x + 4, x - wide - 4):
                box = _Box(left, y + offset - _TALL + 3, left + wide + 2, y + offset + 3)
                inside = box.left > frame.left and box.right < frame.right
                if not inside or box.top < frame.top or box.bottom > frame.bottom - 2:
                    continue
                if not all(box.apart(other) for other in taken):
                    continue
                cost = 3.0 * sum(map(box.holds, everywhere)) + abs(offset) / 10
                if best is None or cost < best[0]:
                    best = (cost, box, (x, y))
    return None if best is None else best[1:]


def _dense(points: Sequence[Point], step: float = 6.0) -> list[Point]:
    """The curve as points at most ``step`` apart, so that no box slips between two of them."""
    dense: list[Point] = list(points[:1])
    for (x1, y1), (x2, y2) in zip(points, points[1:]):
        parts = max(1, math.ceil(math.hypot(x2 - x1, y2 - y1) / step))
        dense += [(x1 + (x2 - x1) * k / parts, y1 + (y2 - y1) * k / parts) for k in range(1, parts + 1)]
    return dense
