"""A chart with its words; a chart that cannot be drawn is words alone."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Figure:
    """What a reader meets as one card.

    Args:
        title: short heading.
        svg: the drawing, None where there is nothing to draw.
        words: how to read it, or why there is nothing.
    """

    title: str
    svg: Markup | None
    words: str
