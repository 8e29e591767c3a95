"""The plot area that charts share: legend, axes with ticks, and the way from values to places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from ofmu.report.axes import Axis
from ofmu.report.svg import coordinate, element, group, titled
from ofmu.report.words import brief

WIDTH = 360  # units of every chart: about the width of a phone, so that the text is as large as on the page
LETTER = 6.1  # width of an average letter of the 11-unit text
_LINE = 16  # height of a line of the legend
Mark = Literal["line", "dashed", "area", "circle", "hollow", "diamond", "square", "triangle"]


@dataclass(frozen=True)
class Key:
    """An entry of the legend.

    Args:
        label: its words, briefed to what fits.
        tone: the colour class, one of the page's: original, unlearned, forget, m1 …
        mark: how the thing is drawn.
    """

    label: str
    tone: str
    mark: Mark = "line"


class Frame:
    """A chart under construction: a legend above, a plot area with axes, and what is drawn into it.

    Args:
        x: horizontal axis.
        y: vertical axis, None for charts whose vertical direction has no scale.
        x_label: what the horizontal axis shows, with its unit.
        y_label: the same for the vertical axis.
        keys: the legend's entries; a single one is no legend, the title says what it is.
        height: height of the plot area.
        left: width of the left margin, by default what the tick labels need.
        right: width of the right margin.
    """

    def __init__(
        self,
        x: Axis,
        y: Axis | None,
        *,
        x_label: str,
        y_label: str = "",
        keys: Sequence[Key] = (),
        height: float = 190,
        left: float | None = None,
        right: float = 12,
    ) -> None:
        self.x, self.y = x, y
        legend, rows = _legend(keys if len(keys) > 1 else ())
        self.top = rows * _LINE + (26 if y_label else 10)
        self.bottom = self.top + height
        widest = max((len(label) for _, label in y.ticks), default=0) if y else 0
        self.left = left if left is not None else 12 + widest * LETTER
        self.right = WIDTH - right
        self.height = self.bottom + 34
        self.parts: list[Markup] = [*legend, *self._horizontal(x_label), *self._vertical(y_label)]

    def _horizontal(self, label: str) -> list[Markup]:
        parts = [element("line", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom, class_="axis")]
        free = -1e9
        for value, text in self.x.ticks:
            place = self.across(value)
            half = len(text) * LETTER / 2
            parts.append(element("line", x1=place, x2=place, y1=self.bottom, y2=self.bottom + 4, class_="axis"))
            if place - half > free:  # a label that would touch its neighbour is left out, its tick stays
                shown = min(max(place, half), WIDTH - half)
                parts.append(element("text", text, x=shown, y=self.bottom + 15, class_="tick", text_anchor="middle"))
                free = place + half + 4
        middle = (self.left + self.right) / 2
        parts.append(
            element(
                "text",
                brief(label, 56),
                x=middle,
                y=self.bottom + 30,
                class_="name",
                text_anchor="middle",
            )
        )
        return parts

    def _vertical(self, label: str) -> list[Markup]:
        parts = []
        for value, text in self.y.ticks if self.y else ():
            place = self.down(value)
            parts.append(element("line", x1=self.left, x2=self.right, y1=place, y2=place, class_="grid"))
            parts.append(element("text", text, x=self.left - 6, y=place + 4, class_="tick", text_anchor="end"))
        if label:
            parts.append(element("text", brief(label, 52), x=2, y=self.top - 9, class_="name"))
        return parts

    def across(self, value: float) -> float:
        """Horizontal place of a value."""
        return self.left + self.x.share(value) * (self.right - self.left)

    def down(self, value: float) -> float:
        """Vertical place of a value; only with a vertical axis."""
        if self.y is None:
            raise ValueError("this chart has no vertical axis")
        return self.bottom - self.y.share(value) * (self.bottom - self.top)

    def add(self, *parts: Markup) -> None:
        """Draw on top of what is there."""
        self.parts += parts


def _legend(keys: Sequence[Key]) -> tuple[list[Markup], int]:
    parts, row, used = [], 0, 0.0
    for key in keys:
        label = brief(key.label, 36)
        wide = 26 + len(label) * LETTER + 8
        if used and used + wide > WIDTH:
            row, used = row + 1, 0.0
        parts.append(sample(key, used + 2, row * _LINE + 9))
        parts.append(element("text", label, x=used + 26, y=row * _LINE + 13, class_="key"))
        used += wide
    return parts, row + 1 if keys else 0


def sample(key: Key, x: float, y: float) -> Markup:
    """The legend's picture of a thing, 20 units wide from (x, y)."""
    if key.mark in {"line", "dashed"}:
        dashed = " dashed" if key.mark == "dashed" else ""
        return element("line", x1=x, x2=x + 20, y1=y, y2=y, class_=f"{tone(key.tone)} stroke{dashed}")
    if key.mark == "area":
        return element("rect", x=x + 2, y=y - 5, width=16, height=10, class_=f"{tone(key.tone)} area")
    return mark(key.mark, x + 10, y, key.tone, key.label)


def mark(shape: Mark, x: float, y: float, colour: str, title: str, size: float = 5) -> Markup:
    """A point of a given shape with its tooltip; shapes tell apart what colours may not."""
    title = brief(title, 160)
    style = f"{tone(colour)} {'hollow' if shape == 'hollow' else 'solid'}"
    if shape in {"circle", "hollow"}:
        return titled("circle", title, cx=x, cy=y, r=size, class_=style)
    corners = {
        "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    }.get(shape, ((0, -1.15), (1.1, 0.9), (-1.1, 0.9)))
    points = " ".join(f"{coordinate(x + a * size)},{coordinate(y + b * size)}" for a, b in corners)
    return titled("polygon", title, points=points, class_=style)


def path(
    points: Sequence[tuple[float, float] | None],
    colour: str,
    *,
    dashed: bool = False,
    thin: bool = False,
    title: str = "",
) -> Markup:
    """A line through points (already places on the paper), with a tooltip if it has a title; None breaks it."""
    written, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        written.append(f"{pen}{coordinate(point[0])} {coordinate(point[1])}")
        pen = "L"
    style = f"{tone(colour)} stroke{' dashed' if dashed else ''}{' thin' if thin else ''}"
    drawn = "".join(written) or "M0 0"
    return titled("path", brief(title, 120), d=drawn, class_=style) if title else element("path", d=drawn, class_=style)


def dots(places: Sequence[tuple[float, float, str]]) -> Markup:
    """Invisible spots that carry tooltips: (x, y, words)."""
    return group(
        (titled("circle", brief(words, 120), cx=x, cy=y, r=6) for x, y, words in places),
        class_="spots",
        stroke="none",
    )


def tone(name: str) -> str:
    """The colour class of a tone; the page's style sheet gives it its colour in light, dark and print."""
    return f"c-{name}"
