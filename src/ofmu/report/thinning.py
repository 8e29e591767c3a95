"""Fewer points for the same picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def thin(points: Sequence[tuple[float, float | None]], most: int) -> list[tuple[float, float | None]]:
    """A curve as at most ``most`` means of neighbouring points; short curves as they are.

    A stretch in which no y is known stays a gap (None).

    >>> thin([(1, 2.0), (2, 4.0), (3, None), (4, None)], 2)
    [(1.5, 3.0), (3.5, None)]
    """
    if len(points) <= most:
        return list(points)
    stride = math.ceil(len(points) / most)
    thinned: list[tuple[float, float | None]] = []
    for start in range(0, len(points), stride):
        bucket = points[start : start + stride]
        known = [y for _, y in bucket if y is not None]
        thinned.append((statistics.fmean(x for x, _ in bucket), statistics.fmean(known) if known else None))
    return thinned


def thin_path(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most about ``most`` of a path's own points, its first and last among them."""
    if len(points) <= most:
        return list(points)
    stride = math.ceil(len(points) / max(1, most - 1))
    return [*points[:-1:stride], points[-1]]
