"""SVG elements as escaped strings; the one place that writes a tag of a chart."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from ofmu.report.words import clean


def element(tag: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One element; text children and attribute values are made visible and escaped, Markup children are kept.

    Attribute names are written with ``_`` for ``-`` and ``class_`` for ``class``; None leaves one out.

    >>> print(element("text", "a < b", x=1.25, class_="tick"))
    <text x="1.2" class="tick">a &lt; b</text>
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = "".join(child if isinstance(child, Markup) else escape(clean(child)) for child in children)
    return Markup(f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>")


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return str(escape(clean(value)))
    return coordinate(value)


def coordinate(value: float) -> str:
    """A length to a tenth of a unit, as short as it can be written."""
    return f"{round(value, 1) + 0.0:g}"  # + 0.0: no negative zero


def group(children: Iterable[Markup], **attributes: str | float | None) -> Markup:
    """A ``<g>`` of elements."""
    return element("g", Markup("").join(children), **attributes)


def titled(tag: str, title: str, **attributes: str | float | None) -> Markup:
    """An element with a tooltip that needs no script."""
    return element(tag, element("title", title), **attributes)


def drawing(width: float, height: float, label: str, children: Iterable[Markup]) -> Markup:
    """The whole chart, which scales with its column and tells a screen reader what it shows."""
    return element(
        "svg",
        Markup("").join(children),
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        class_="chart",
        fill="none",  # where a page's style sheet is lost, outlines are still readable
        stroke="currentColor",
        role="img",
        aria_label=label,
    )
