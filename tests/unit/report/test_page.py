"""The page of a run: real content, words for what is missing, strangers' strings harmless."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ofmu.errors import RunError
from ofmu.report import page
from ofmu.report.story import ShownExample, Story

from .conftest import DRAWINGS, Run, png, score
from .reading import check, written

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></svg></title><script src=//evil.example>",
    "' onload='alert(1)",
    "nul\x00 bell\x07 escape\x1b[31m",
    "line\u2028separator \u202eright-to-left \ud800 lone \ufffe none",
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; &#0; ]]> <!-- ",
    "javascript:alert(1) https://evil.example/ url(x)",
    "x" * 100_000,
]


def test_the_run_is_on_the_page(run: Run, tmp_path: Path) -> None:
    read = written(run, tmp_path)
    for words in (
        run.title,
        run.metrics["verdict"]["words"],
        "Measured against a model retrained without the data.",
        "Loss on the forget set: 0.0812 before, 5.831 unlearned and 5.930 retrained.",
        "It cost 480 gradient evaluations and 3 min 12 s.",
        "finished: the level was reached at step 200",
        "5.621 to 6.041",
        "-0.0990",
        "n 200, 10 clusters, reporting half",
        "The guard acted in 59 of 240 steps (25%).",
        "method.similarity squared_hinge",
        "7b" * 32,
        "peak memory 912.0 MB",
        "What this does not show",
        "Relearning gap: 0.3120 (95 % interval: 0.2500 to 0.4000)",
        "Not done: a probe on the inner states, as there is no holdout set.",
        "a stronger attacker chooses others",
    ):
        assert words in read.text
    heads = [
        "Verdict",
        "Before, unlearned, retrained",
        "How the models see",
        "What brings it back",
        "Course of the run",
    ]
    heads += ["Single examples", "Cost", "Settings", "Hashes, versions", "What this does not show"]
    places = [read.html.index(f"<h2>{head}") for head in heads]
    assert places == sorted(places)
    assert len(read.drawings) == DRAWINGS
    assert "http" not in read.html.replace("http-equiv", "")
    assert "src=" not in read.html


def test_the_card_has_the_word_of_the_sentences(run: Run, tmp_path: Path) -> None:
    words = "Forgotten: cannot be told. There is no model to compare with. What it cost in ability cannot be told: why."
    run.metrics["verdict"] = {"forgotten": None, "over_forgotten": None, "utility_kept": None, "against": "nothing"}
    run.metrics["verdict"]["words"] = words
    text = written(run, tmp_path).text
    for question in ("Forgotten?", "Pushed too far?", "Abilities kept?"):
        assert f"{question} Cannot be told" in text
    run.metrics["verdict"] |= {"against": "retrained", "words": "Forgotten: undecided. Gone too far: undecided."}
    text = written(run, tmp_path).text
    for question in ("Forgotten?", "Pushed too far?", "Abilities kept?"):
        assert f"{question} Undecided" in text


def test_findings_say_yes_no_undecided(run: Run, tmp_path: Path) -> None:
    read = written(run, tmp_path)
    assert "Forgotten? Yes" in read.text
    assert "Pushed too far? No" in read.text
    assert "Abilities kept? Undecided" in read.text
    assert "Cannot be told" not in read.text
    assert 'class="verdict open"' in read.html  # one open question keeps the card from looking settled
    run.metrics["verdict"] |= {"over_forgotten": True, "utility_kept": True}
    assert 'class="verdict bad"' in written(run, tmp_path).html
    run.metrics["verdict"] |= {"over_forgotten": False}
    assert 'class="verdict good"' in written(run, tmp_path).html


def test_without_retrained_and_holdout_it_says_so(run: Run, tmp_path: Path) -> None:
    run.without_role("retrained").without_set("holdout")
    run.brought_back = None
    run.metrics["scores"] = [s for s in run.metrics["scores"] if s["name"] not in {"mia_loss", "holdout_loss"}]
    run.metrics["scores"].append(score("mia_loss", "unlearned", None, reason="no holdout was given"))
    run.metrics["verdict"] |= {"forgotten": None, "over_forgotten": None, "against": "nothing"}
    for line in run.metrics["scores"]:
        line["gap"] = None
    read = written(run, tmp_path)
    assert "No model retrained without the data was given, so there is nothing to compare" in read.text
    assert "Gap to retrained" not in read.html
    assert "No holdout was given: a membership attack needs examples" in read.text
    assert "no holdout was given" in read.text
    assert "Without a retrained model there is no target." in read.text
    assert "There was no reference model: the numbers are shown, but not judged." in read.text
    assert "as_retrained" not in read.text


def test_nothing_at_all_is_still_a_page(tmp_path: Path) -> None:
    read = written(Run(), tmp_path)
    for words in ("No verdict was recorded.", "Nothing was measured", "No per-example losses were recorded",
                  "No losses were recorded: a membership attack needs", "No steps were recorded",
                  "No cost was recorded.", "No settings were recorded.", "No hashes were recorded."):  # fmt: skip
        assert words in read.text
    assert read.drawings == []


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_a_missing_number_is_words(run: Run, tmp_path: Path, missing: float | None) -> None:
    for line in run.metrics["scores"]:
        line |= {"value": missing, "interval": [missing, missing], "gap": missing, "reason": "the model diverged"}
    for line in run.history:
        line |= {"forget_loss": missing, "rho": missing}
    run.distributions["unlearned"]["forget"][:3] = [math.nan, math.inf, -math.inf]
    run.metrics["cost"] = {"gradients": missing, "seconds": missing}
    read = written(run, tmp_path)
    assert "the model diverged" in read.text
    assert "not measured" in read.text
    assert "37 examples, 3 not finite and left out" in read.html
    for never in ("nan", "None", "null", "inf<", "inf "):
        assert never not in read.text.replace("nanny", "").replace("NaN", "nan")


def _poison(value: Any, strings: list[str]) -> Any:
    """Every string, and every key of settings, hashes and costs, with a hostile one appended."""
    if isinstance(value, str):
        strings.append(value)
        return value + HOSTILE[len(strings) % len(HOSTILE)]
    if isinstance(value, list):
        return [_poison(each, strings) for each in value]
    if isinstance(value, dict):
        return {key: _poison(each, strings) for key, each in value.items()}
    return value


def test_hostile_strings_are_text(run: Run, tmp_path: Path) -> None:
    strings: list[str] = []
    run.title += HOSTILE[1]
    run.config = _poison(run.config, strings) | {evil: evil for evil in HOSTILE}
    run.manifest = _poison(run.manifest, strings) | {evil: {evil: evil} for evil in HOSTILE}
    run.metrics["verdict"]["words"] = " ".join(HOSTILE)
    run.metrics["cost"] |= {evil: evil for evil in HOSTILE}
    for number, evil in enumerate(HOSTILE):
        run.metrics["scores"].append(score(evil, "unlearned", 0.1, mode=evil, half=evil, direction=evil))
        run.metrics["scores"].append(score(evil, "unlearned", None, reason=evil, excluded={evil: evil}))
        run.metrics["scores"][number]["interval"] = evil
    run.ids = {
        name: [evil + HOSTILE[i % len(HOSTILE)] for i, evil in enumerate(ids)] for name, ids in (run.ids or {}).items()
    }
    run.shown = [ShownExample(evil, evil, evil, evil, evil, set=evil, truth=evil) for evil in HOSTILE]
    run.shown.append(ShownExample("fake", b"<svg onload=alert(1)>", 1.0, 2.0))
    read = written(run, tmp_path)
    assert "<script>alert(1)</script>" in read.text  # to be read, not run
    assert "nul␀ bell␇ escape␛[31m" in read.text
    assert "line⟨U+2028⟩separator ⟨U+202E⟩right-to-left ⟨U+D800⟩ lone ⟨U+FFFE⟩ none" in read.text
    assert "{{ 7 * 7 }}" in read.text
    assert "neither text nor a PNG image" in read.text
    assert "(100,0" in read.text  # a shortened string says how long it was
    assert not any(name == "src" for _, name, _ in read.attributes)


def test_hostile_stories_are_text(stories: list[Story], tmp_path: Path) -> None:
    evil = " ".join(HOSTILE)
    changed = [
        replace(
            story,
            name=evil,
            question=evil,
            verdict=evil,
            columns=[replace(column, title=evil) for column in story.columns],
            rows=[replace(row, method=row.method + evil) for row in story.rows],
        )
        for story in stories
    ]
    page.write_demo(tmp_path / "demo.html", stories=changed)
    assert "<script>alert(1)</script>" in check((tmp_path / "demo.html").read_text(encoding="utf-8")).text


def test_content_appears_only_when_given(run: Run, tmp_path: Path) -> None:
    assert "Content is shown only if it was asked for" in written(run, tmp_path).text
    run.shown = [ShownExample("a", "Where was she born?", "In Kuwait.", "Unknown."), ShownExample("b", png(), 0.5, 0.1)]
    read = written(run, tmp_path)
    assert "Content is shown only" not in read.text
    assert "Where was she born?" in read.text
    images = [value for tag, name, value in read.attributes if (tag, name) == ("img", "src")]
    assert len(images) == 1
    policy = next(v for tag, name, v in read.attributes if name == "content" and "default-src" in v)
    assert "img-src data:" in policy
    assert "unsafe" not in policy


def test_policy_forbids_images_without_images(run: Run, tmp_path: Path) -> None:
    policy = next(v for _, name, v in written(run, tmp_path).attributes if name == "content" and "default" in v)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "img-src" not in policy


def test_the_page_stays_small_whatever_comes(run: Run, tmp_path: Path) -> None:
    run.shown = [ShownExample(f"{i}", png(400), 0.1, 0.2) for i in range(40)]
    run.shown += [ShownExample(f"{i}", "word " * 10_000, "w" * 10_000, "w" * 10_000) for i in range(300)]
    run.history *= 50
    run.config |= {f"option{i}": "v" * 5_000 for i in range(2_000)}
    run.manifest["files"] |= {f"records/{i}.parquet": "ab" * 32 for i in range(5_000)}
    run.metrics["scores"] += [score(f"metric_{i}", "unlearned", None, reason="r" * 10_000) for i in range(1_000)]
    read = written(run, tmp_path)
    assert "more were left out to keep this page small" in read.text
    assert "rows are in the run directory's own files" in read.text


def test_a_failed_write_keeps_the_old_page(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(run, tmp_path)
    old = (tmp_path / "report.html").read_bytes()
    monkeypatch.setattr(page, "MOST_BYTES", 1_000)
    with pytest.raises(RunError, match="at most 1,000 are allowed"):
        page.write_demo(tmp_path / "report.html", stories=[])
    assert (tmp_path / "report.html").read_bytes() == old
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"cannot write the report .*No such file"):
        page.write_demo(tmp_path / "absent" / "report.html", stories=[])


def test_the_same_input_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    assert written(run, tmp_path, "a.html").html == written(run, tmp_path, "b.html").html


def test_metrics_read_back_from_json(run: Run, tmp_path: Path) -> None:
    before = written(run, tmp_path).html
    run.metrics = json.loads(json.dumps(run.metrics))
    assert written(run, tmp_path).html == before


def test_drawing_a_report_needs_no_torch() -> None:
    code = "import sys, ofmu.report.page, ofmu.report.terminal; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_demo_tells_its_stories(stories: list[Story], tmp_path: Path) -> None:
    page.write_demo(tmp_path / "demo.html", stories=stories)
    read = check((tmp_path / "demo.html").read_text(encoding="utf-8"))
    for story in stories:
        assert story.verdict in read.text
        for row in story.rows:
            assert row.method in read.text
    assert "a rival is better than ofmu: npo" in read.text
    assert "the run diverged" in read.text
    assert "Every method spent 240 gradient evaluations." in read.text
    assert "Single seed: no spread." in read.text
    assert read.html.count('class="best"') == 3 + 2
