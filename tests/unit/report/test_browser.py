"""A real browser shows the pages on a phone and on a desk: nothing sticks out, nothing is hidden or clipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import WIDTHS, find_browser, seen
from ofmu.report import page
from ofmu.report.story import ShownExample, Story

from .conftest import DRAWINGS, Run, png, score
from .reading import check, written


@pytest.fixture(scope="module")
def browser() -> str:
    return find_browser()


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


def _attacks(run: Run, folder: Path) -> str:
    assert run.brought_back is not None
    page.write_attacks(
        folder / "attacks.html", title="Attacks", found=run.brought_back, config=run.config, manifest=run.manifest
    )
    return check((folder / "attacks.html").read_text(encoding="utf-8")).html


def test_pages_fit_a_phone_and_a_desk(browser: str, run: Run, stories: list[Story], tmp_path: Path) -> None:
    page.write_demo(tmp_path / "demo.html", stories=stories)
    run.shown = [ShownExample("digit 1", png(), "said 7", "said 1")]
    pages = {
        "run": written(run, tmp_path).html,
        "demo": (tmp_path / "demo.html").read_text(encoding="utf-8"),
        "empty": written(Run(), tmp_path).html,
        "attacks": _attacks(run, tmp_path),
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
        assert found["run", width]["drawings"] == DRAWINGS
        assert "relearning gap: 0.3120" in text.lower()
        assert "relearning gap: 0.3120" in found["attacks", width]["text"].lower()
        assert "retrained without the data" in text.lower()  # as a heading, or above the cell on a phone
        assert "±" in found["demo", width]["text"]
        assert found["run", width]["images"] == [8]  # the policy lets the page's own picture through
    assert "Content Security Policy" not in console
    assert "Refused" not in console
