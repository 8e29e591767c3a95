"""Attacks on the page: curves that are ahead, every attack's ROC, what is said and what is left unsaid."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from ofmu.report import attackers, attacks, headline, limits, page, relearning, verdict
from ofmu.report.axes import Axis
from ofmu.report.beside import place_labels
from ofmu.report.frame import Frame

from .conftest import Run, attacked, score
from .conftest import attacks as found
from .reading import check, written


def test_relearning_is_a_headline_and_the_verdict_says_it(run: Run, tmp_path: Path) -> None:
    run.metrics["verdict"]["words"] += " Not shown: whether the knowledge can be brought back. None of these figures "
    run.metrics["verdict"]["words"] += "comes from an attack that teaches."
    read = written(run, tmp_path)
    assert "Not shown: whether the knowledge" not in read.text
    assert read.text.index("Relearning gap: 0.3120") < read.text.index("Before, unlearned, retrained")
    section = attacks.section(run.brought_back)
    (table,) = headline.tables({"scores": [attacks.relearning_gap(run.brought_back)]})
    assert table.lines()[0].title == "Relearning gap"
    assert section is not None
    assert len(section.parts[0].figures) == 2
    run.brought_back = None
    read = written(run, tmp_path)
    assert "Not shown: whether the knowledge" in read.text
    assert "What brings it back" not in read.text


def test_the_area_is_where_the_unlearned_model_is_ahead() -> None:
    ahead = relearning._ahead
    assert ahead((0, 1, 3), (1, 1, 2)) == ((0, 1, 3), (1, 1, 2))
    assert ahead((0, 3, 1), (1, 2, 1)) is None
    assert ahead((0, 0, 2), (1, 2, 0)) == ((0, 0, 2), (0.5, 1, 1))  # crosses half-way
    assert ahead((0, 2, 0), (1, 0, 2)) == ((0.5, 1, 1), (1, 0, 2))


def test_relearning_curves_are_means_over_seeds_and_retrained_models() -> None:
    given = found()["attacks"]["relearning"]
    more = [{**c, "role": "retrained-2", "loss": [x + 2 for x in c["loss"]]} for c in given["curves"]]
    given["curves"] += [c for c, old in zip(more, list(given["curves"])) if old["role"] == "retrained"]
    first, second = relearning.figures(given)
    assert "Means over 2 seeds." in first.words
    assert "Relearning gap: 0.3120." in first.words
    assert "5 % of the forgotten examples" in second.title
    svg = str(first.svg)
    ElementTree.fromstring(svg)
    assert "retrained without the data: 6.825 after 0 steps" in svg  # 5.9 − 1.2/16 + 1
    assert svg.count('class="c-forget area"') == 1


def test_relearning_without_a_retrained_model_or_without_numbers() -> None:
    given = found()["attacks"]["relearning"]
    given["curves"] = [c for c in given["curves"] if c["role"] != "retrained"]
    given["headline"] = {"name": "relearning_gap", "value": None, "reason": "no retrained model", "parts": []}
    (first, _) = relearning.figures(given)
    assert "cannot be told from fast" in first.words
    assert "area" not in str(first.svg)
    for curve in given["curves"]:
        curve["loss"] = [None] * 8
    assert relearning.figures(given) == []
    assert attacks.relearning_words(given["headline"]) == "Relearning gap: not measured (no retrained model)."


def test_what_was_found_is_in_the_tables_and_words() -> None:
    section = attacks.section(found())
    assert section is not None
    taught, rounded = section.parts
    assert taught.rows[0].variant == (
        "taught up to 20 forgotten examples that belong together, steps of 0.02 of the model's scale"
    )
    assert [row.variant for row in rounded.rows] == [
        "8 bits, one scale a row (int8)",
        "4 bits, groups of 64 (int4)",
        "4 bits, normal levels (nf4)",
    ]
    row = rounded.rows[0]
    values = (row.original, row.before, row.after, row.retrained, row.gap)
    assert values == ("0.9000", "0.0100", "0.0200", "0.0080", "+0.0120")
    assert [row.measure for row in rounded.more] == ["Loss attack"]
    assert section.words[1] == (
        "Weights rounded, 8 bits, one scale a row (int8). Probability of the forgotten answers: 0.0100 as it is, "
        "0.0200 attacked; the retrained model, attacked alike: 0.0080."
    )
    assert attacks.section(None) is None
    assert attacks.section({"attacks": {}}) is None
    assert attacks.done(found()) == {"relearning", "quantisation"}


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", None, math.nan, [], {}, "x" * 50_000])
def test_whatever_attacks_json_holds_the_page_is_harmless(evil: Any, tmp_path: Path) -> None:
    given = found()
    given["attacks"]["relearning"]["headline"]["interval"] = evil
    given["attacks"]["quantisation"]["figures"].append(attacked(str(evil), str(evil), unlearned=1, retrained=2))
    given["attacks"]["quantisation"]["figures"].append(evil)
    given["attacks"]["quantisation"]["notes"] = [evil]
    given["attacks"][f"own:{evil}"] = {"figures": [attacked("half", "own", unlearned=1.0, retrained=0.5, before={})]}
    given["attacks"]["broken"] = evil
    given["left_out"] = {str(evil): evil}
    given["notes"] = [evil]
    page.write_attacks(tmp_path / "a.html", title="Attacks", found=given, config={"e": evil}, manifest={})
    read = check((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "Relearning gap: 0.3120" in read.text
    assert "half" in read.text


def test_limits_of_attacks_alone() -> None:
    given = found()
    said = " ".join(limits.attack_limits(attacks.done(given), roles=["unlearned", "retrained"], images=False))
    assert "no relearning attack was run" not in said
    assert "many answers" in said
    assert not attacks.of_images(given)
    given["attacks"]["quantisation"]["figures"].append(attacked("test_accuracy", "int8", unlearned=0.9, retrained=0.9))
    assert attacks.of_images(given)
    said = limits.attack_limits(attacks.done(given), roles=["unlearned"], images=True)
    assert said[0].startswith("Whether the data come back faster")
    assert "many answers" not in " ".join(said)


def test_every_attack_has_its_curve_and_the_strongest_its_target(run: Run) -> None:
    figure = attackers.every_attack(run.membership or {})
    assert figure is not None
    svg = str(figure.svg)
    assert svg.count("c-m") >= 3
    assert svg.count(", retrained 0.") >= 1
    assert "Thick:" in figure.words
    labels = re.findall(r'class="c-[a-z0-9]+ beside">([^<]+)<', svg)
    assert len(labels) == 5
    assert {label.split()[0].strip(",") for label in labels} == {"loss", "zlib", "min-k", "min-k++"}
    run.without_role("retrained")
    figure = attackers.every_attack(run.membership or {})
    assert figure is not None
    assert "farthest from guessing" in figure.words
    assert attackers.every_attack({"mia_loss": (run.membership or {})["mia_loss"]}) is None


def test_the_strongest_is_the_one_that_the_privacy_gap_takes() -> None:
    low, high = list(np.linspace(0, 1, 50)), list(np.linspace(2, 3, 50))
    members = {
        "mia_loss": {"unlearned": (low, high), "retrained": (low, high)},  # 1 and 1: no gap
        "mia_zlib": {"unlearned": (low, low), "retrained": (low, high)},  # .5 against 1
    }
    figure = attackers.every_attack(members)
    assert figure is not None
    assert "Thick: Loss against compressed size (zlib)" in figure.words


def test_labels_stand_apart_inside_the_chart() -> None:
    unit = Axis(0, 1, False, ((0, "0"), (1, "1")))
    frame = Frame(unit, unit, x_label="x", y_label="y", height=230)
    line = [(frame.across(x), frame.down(x)) for x in np.linspace(0, 1, 40)]
    drawn = place_labels(frame, [(f"curve {i}", f"m{i}", line) for i in range(1, 7)])  # all the same
    texts = [re.search(r'x="([\d.]+)" y="([\d.]+)".*>(curve \d)<', part) for part in drawn if "<text" in part]
    places = [(float(m[1]), float(m[2]), m[3]) for m in texts if m]
    assert [name for *_, name in places] == [f"curve {i}" for i in range(1, 7)]
    for i, (x, y, _) in enumerate(places):
        assert frame.left < x < frame.right - 40
        assert frame.top < y < frame.bottom
        assert all(abs(x - a) > 40 or abs(y - b) > 10 for a, b, _ in places[i + 1 :])
    assert place_labels(frame, []) == []


def test_many_figures_of_the_verdict_are_folded_away(run: Run) -> None:
    course = "0.9 before, 0.5 now, 0.1 retrained; 50 % of the way is left"
    many = " ".join(f"Figure {i} on the forget set: {course}." for i in range(9))
    run.metrics["verdict"]["words"] = f"{'Forgotten: no. ' * 20} {many} Abilities kept: yes."
    card = verdict.card(run.metrics, run.config, run.manifest, run.history, None)
    assert len(card.evidence) == 9
    assert card.reasons[-1] == "Abilities kept: yes."
    run.metrics["verdict"]["words"] = f"{'Forgotten: no. ' * 20} Figure: {course}. Abilities kept: yes."
    card = verdict.card(run.metrics, run.config, run.manifest, run.history, None)
    assert card.evidence == []
    assert f"Figure: {course}." in card.reasons


def test_the_first_table_is_short_and_the_rest_is_folded_by_set(run: Run, tmp_path: Path) -> None:
    kinds = ("rep4", "cut", "truth_ratio", "generated_tokens", "rougeL_recall")
    for name in ("forget", "retain", "world_facts"):
        run.metrics["scores"] += [score(f"{name}_{kind}", "unlearned", 0.25) for kind in kinds]
    parts = [{"name": "forget_probability", "value": 0.1}, {"name": "world_facts_truth_ratio", "value": 0.2}]
    run.metrics["scores"].append(score("forgetting_gap", "unlearned", 0.1, parts=parts))
    (table,) = headline.tables(run.metrics)
    assert {line.metric for line in table.lines()} == {
        "forgetting_gap", "forget_probability", "world_facts_truth_ratio", "forget_loss", "retain_loss", "holdout_loss",
    }  # fmt: skip
    assert [shelf for shelf, _ in table.more][:2] == ["Forget set", "Attacks"]
    assert {line.metric for line in dict(table.more)["World facts"]} == {
        f"world_facts_{kind}" for kind in kinds if kind != "truth_ratio"
    }
    read = written(run, tmp_path)
    assert "All other scores, set by set: 17 lines" in read.text
    assert "Repetition in what it says" in read.text
    assert json.dumps(run.metrics)  # untouched: what is drawn is not written back
