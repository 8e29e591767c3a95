"""A real browser shows the pages on a phone and on a desk: nothing sticks out, nothing is hidden or clipped."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import pytest

from ofmu.report import page
from ofmu.report.story import ShownExample, Story

from .conftest import Run, png, score
from .reading import written

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--virtual-time-budget=8000",
    "--window-size=1300,900",
    "--enable-logging=stderr",
]
WIDTHS = (380, 1200)

# Every page sits in a frame as wide as a phone or a desk; the outer document measures what the reader would see.
_MEASURE = """
const box = (element) => element.getBoundingClientRect();
const beside = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1;
const apart = (a, b) => beside(a, b) || a.bottom <= b.top + 3 || b.bottom <= a.top + 3;
function measure(frame) {
  const inside = frame.contentDocument, root = inside.documentElement, wide = frame.clientWidth;
  const outside = [...inside.body.querySelectorAll("*")].filter((e) => box(e).right > wide + 1 || box(e).left < -1);
  const squeezed = [...inside.body.querySelectorAll("caption, p, li, th, td, dt, dd, figcaption, h1, h2, h3")]
    .filter((e) => !(e.closest("thead") && getComputedStyle(e.closest("thead")).position === "absolute") &&
      e.textContent.trim().length > 12 && box(e).height > 0 && box(e).width < 60 && box(e).width > 1);
  const clipped = [], touching = [], small = [];
  for (const chart of inside.querySelectorAll("svg")) {
    const frame = box(chart), labels = [...chart.querySelectorAll("text")];
    for (const label of labels) {
      const place = box(label);
      if (place.left < frame.left - 1 || place.right > frame.right + 1 || place.top < frame.top - 1 ||
          place.bottom > frame.bottom + 1) clipped.push(label.textContent);
      if (place.height < 9) small.push(label.textContent);
    }
    labels.forEach((one, at) => labels.slice(at + 1).forEach((other) => {
      if (one.textContent && other.textContent && !apart(box(one), box(other)))
        touching.push(one.textContent + " / " + other.textContent);
    }));
  }
  return {
    name: frame.title, wide, scroll: root.scrollWidth, height: root.scrollHeight,
    outside: outside.map((e) => e.tagName + ": " + e.textContent.slice(0, 80)),
    squeezed: squeezed.map((e) => e.tagName + ": " + e.textContent.slice(0, 80)),
    clipped, touching, small, text: inside.body.innerText,
    styled: getComputedStyle(inside.body).fontFamily.includes("system-ui"),
    images: [...inside.images].map((image) => image.naturalWidth),
  };
}
window.onload = () => {
  const found = [...document.querySelectorAll("iframe")].map(measure);
  const bytes = new TextEncoder().encode(JSON.stringify(found));
  document.getElementById("found").textContent = btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
};
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} is installed")
    return found


def seen(browser: str, pages: dict[str, str], folder: Path) -> tuple[dict[tuple[str, int], dict[str, Any]], str]:
    """(page, width) → what the browser measured, and what it complained about."""
    frames = [
        f'<iframe title="{name}" style="width:{width}px;height:900px;border:0" srcdoc="{escape(html)}"></iframe>'
        for name, html in pages.items()
        for width in WIDTHS
    ]
    outer = f"<!doctype html><meta charset=utf-8><pre id=found></pre>{''.join(frames)}<script>{_MEASURE}</script>"
    (folder / "outer.html").write_text(outer, encoding="utf-8")
    command = [
        browser,
        *_FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        (folder / "outer.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="found">([A-Za-z0-9+/=]+)</pre>', done.stdout)
    assert found, done.stderr[-2_000:]
    measured = json.loads(base64.b64decode(found[1]))
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return {(each["name"], round(each["wide"])): each for each in measured}, console


def _hostile(run: Run) -> Run:
    endless = "https://evil.example/" + "W" * 5_000
    run.title = endless
    run.config |= {endless: endless}
    run.manifest |= {endless: {endless: endless}}
    run.metrics["verdict"]["words"] = endless
    run.metrics["scores"] += [score(endless, "unlearned", None, reason=endless), score("x" * 300, "retrained", 1e-300)]
    run.ids = {name: [endless + each for each in ids] for name, ids in (run.ids or {}).items()}
    run.shown = [ShownExample(endless, endless, endless, endless, truth=endless)]
    return run


def test_pages_fit_a_phone_and_a_desk(browser: str, run: Run, stories: list[Story], tmp_path: Path) -> None:
    page.write_demo(tmp_path / "demo.html", stories=stories)
    run.shown = [ShownExample("digit 1", png(), "said 7", "said 1")]
    pages = {
        "run": written(run, tmp_path).html,
        "demo": (tmp_path / "demo.html").read_text(encoding="utf-8"),
        "empty": written(Run(), tmp_path).html,
        "hostile": written(_hostile(run), tmp_path).html,
        "broken": '<!doctype html><body style="font-family:system-ui"><p style="width:5000px">too wide</p>',
    }
    found, console = seen(browser, pages, tmp_path)
    assert len(found) == len(pages) * len(WIDTHS)
    for (name, width), shown in found.items():
        if name == "broken":  # the measure itself is measured
            assert shown["scroll"] > width
            assert shown["outside"]
            continue
        where = f"{name} at {width} px"
        assert shown["scroll"] <= width, f"{where}: {shown['outside'][:3]}"
        assert shown["outside"] == [], where
        assert shown["squeezed"] == [], where
        assert shown["clipped"] == [], where
        assert shown["touching"] == [], where
        assert shown["small"] == [], where
        assert shown["styled"], f"{where}: the policy blocks the page's own style"
        assert "What this does not show".lower() in shown["text"].lower(), where
    for width in WIDTHS:
        text = found["run", width]["text"]
        for words in ("Forgotten?", "5.831", "5.621 to 6.041", "author-181/question", "480", "7b7b7b7b"):
            assert words in text
        assert "retrained without the data" in text.lower()  # as a heading, or above the cell on a phone
        assert "±" in found["demo", width]["text"]
        assert found["run", width]["images"] == [8]  # the policy lets the page's own picture through
    assert "Content Security Policy" not in console
    assert "Refused" not in console
