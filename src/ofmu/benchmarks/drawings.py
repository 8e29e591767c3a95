"""A chart of the report as a file of its own."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup

from ofmu.errors import RunError

_TONES = {"m1": "#b2452a", "m2": "#9a7212", "m3": "#7a5a9e", "m4": "#32808a", "m5": "#a14a76", "m6": "#5d6b2f"}
_TONES |= {"original": "#6c757d", "unlearned": "#1f5c99", "retrained": "#1b7a58", "ink": "#20262c"}
_STYLE = (
    "svg{background:#fff;fill:#20262c;stroke:none;font:11px system-ui,sans-serif}.tick,.name{fill:#59636e}"
    ".axis,.zero,.target{stroke:#59636e}.grid{stroke:#e3e7eb}.target{stroke-dasharray:2 3}"
    ".stroke{stroke:var(--c);fill:none;stroke-width:1.6;stroke-linejoin:round}.dashed{stroke-dasharray:5 3}"
    ".area{fill:var(--c);fill-opacity:.22}.solid{fill:var(--c);stroke:#fff}"
    ".hollow{fill:#fff;stroke:var(--c);stroke-width:1.8}.spots circle{fill:transparent}"
)


def write(svg: Markup, path: Path) -> None:
    """One chart as an SVG file that needs no page around it.

    Args:
        svg: a drawing of :mod:`ofmu.report.charts`.
        path: where to.

    Raises:
        RunError: it uses a tone that has no colour here.
    """
    tones = set(re.findall(r"\bc-(\w+)", svg))
    if unknown := tones - set(_TONES):
        raise RunError(f"no colour is known for the tones {', '.join(sorted(unknown))}")
    style = _STYLE + "".join(f".c-{tone}{{--c:{_TONES[tone]}}}" for tone in sorted(tones))
    opened = str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, _, rest = opened.partition(">")
    path.write_text(f"{head}><style>{style}</style>{rest}\n", encoding="utf-8")
