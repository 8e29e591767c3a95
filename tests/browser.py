"""A real browser, without a window: what a reader of a page would see at a given width, and whether anything ran."""

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

_BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "chromium-headless-shell",
    "chrome-headless-shell",
    "headless_shell",
)
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
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_WATCH = """<script>window.ran = [];
for (const name of ["alert", "confirm", "prompt"]) window[name] = (words) => ran.push(name + words);</script>"""

# Every page sits in a frame as wide as a phone or a desk; the outer document measures what the reader would see.
_MEASURE = """
const box = (element) => element.getBoundingClientRect();
const beside = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1;
const apart = (a, b) => beside(a, b) || a.bottom <= b.top + 3 || b.bottom <= a.top + 3;
function measure(frame) {
  const inside = frame.contentDocument;
  inside.querySelectorAll("details").forEach((each) => { each.open = true; });
  const root = inside.documentElement, wide = frame.clientWidth;
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
    clipped, touching, small, text: inside.body.innerText, ran: frame.contentWindow.ran || [],
    drawings: inside.querySelectorAll("svg").length, cells: [...inside.querySelectorAll("td")].map((e) => e.innerText),
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


def find_browser() -> str:
    """Path of a browser; skips the test, saying so, where there is none."""
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} is installed")
    return found


def disarmed(html: str) -> str:
    """The page without its policy, and with a watch on dialogs: what would run if escaping alone protected it."""
    bare, times = _POLICY.subn("", html)
    assert times == 1
    return bare.replace("<head>", f"<head>{_WATCH}", 1)


def seen(browser: str, pages: dict[str, str], folder: Path) -> tuple[dict[tuple[str, int], dict[str, Any]], str]:
    """(page, width) → what the browser measured, with all ``details`` open, and what it complained about."""
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
