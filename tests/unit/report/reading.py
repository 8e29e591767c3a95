"""Reads a written page as a browser's parser would: tags, attributes, text, drawings."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from ofmu.report import page

VOID = {"meta", "img", "br"}
_KNOWN = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "main",
    "section",
    "footer",
    "h1",
    "h2",
    "h3",
    "p",
    "a",
    "ul",
    "li",
    "dl",
    "dt",
    "dd",
    "div",
    "span",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "figure",
    "figcaption",
    "article",
    "pre",
    "img",
    "svg",
    "g",
    "path",
    "line",
    "rect",
    "circle",
    "polygon",
    "text",
}


class Page(HTMLParser):
    """Tags, attributes and text of a page; complains about what does not belong there."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], f"left open: {self._open}"

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def drawings(self) -> list[str]:
        return re.findall(r"<svg.*?</svg>", self.html, re.DOTALL)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _KNOWN, f"unexpected element <{tag}>"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _KNOWN, f"unexpected element <{tag}/>"
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        last = self._open.pop() if self._open else None
        assert last == tag, f"</{tag}> closes <{last}>"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.words.append(data)


def check(html: str) -> Page:
    """Parse a page and assert what holds for every page: no script, nothing loaded, valid drawings."""
    read = Page(html)
    for tag, name, value in read.attributes:
        assert not name.startswith("on"), f"{tag} {name}={value}"
        assert name not in {"style", "srcset", "action", "formaction", "xlink:href", "background", "poster"}
        if name == "src":
            assert tag == "img"
            assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", value)
        if name == "href":
            assert value == "#limits"
    assert "url(" not in "".join(re.findall(r"<style>.*?</style>", html, re.DOTALL))
    assert "@import" not in html
    for drawing in read.drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert len(drawing.encode()) <= 20_000
    assert len(html.encode()) <= page.MOST_BYTES
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ufffe]", html)
    return read


def written(run: object, folder: Path, name: str = "report.html") -> Page:
    """Write a conftest.Run and read it back."""
    assert dataclasses.is_dataclass(run)
    assert not isinstance(run, type)
    page.write(folder / name, **{field.name: getattr(run, field.name) for field in dataclasses.fields(run)})
    return check((folder / name).read_text(encoding="utf-8"))
