"""Which numbers reach the table, which are left out, and what is said in their place."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from ofmu.report import course, examples, facts, limits, verdict
from ofmu.report.headline import Cell, tables
from ofmu.report.membership import loss_attack
from ofmu.report.words import clean, count, duration, listed, number

from .conftest import Run, score


def only_cell(*scores: dict) -> Cell:
    (table,) = tables({"scores": list(scores)})
    return table.lines()[0].cells[0]


def test_null_is_never_zero() -> None:
    cell = only_cell(score("mia_loss", "unlearned", None, reason="no holdout"))
    assert (cell.text, cell.interval, cell.note) == ("not measured", "", "no holdout")
    assert only_cell(score("mia_loss", "unlearned", math.nan)).text == "not measured"
    assert only_cell(score("mia_loss", "unlearned", 0.0)).text == "0"


def test_intervals_that_are_none_are_explained() -> None:
    assert only_cell(score("a", "unlearned", 1.0, interval="too few")).note == "no interval: too few"
    assert only_cell(score("a", "unlearned", 1.0)).note == "no interval"
    assert only_cell(score("a", "unlearned", 1.0, reason="too few clusters")).note == "too few clusters"
    assert only_cell(score("a", "unlearned", 1.0, interval=[0.5, None])).interval == ""
    assert only_cell(score("a", "unlearned", 1.0, interval=[0.5, 2])).interval == "0.5000 to 2.000"


def test_what_steers_is_not_reported() -> None:
    scores = [score("a", "unlearned", 1.0), score("a", "unlearned", 9.0, half="steer")]
    (table,) = tables({"scores": scores})
    assert [cell.value for line in table.lines() for cell in line.cells] == [1.0]
    assert "1 score of the steering half left out: what steers is not reported." in table.notes


def test_modes_never_share_a_table() -> None:
    scores = [score("p", "unlearned", 1.0, mode="parity:muse"), score("p", "unlearned", 2.0)]
    correct, parity = tables({"scores": scores})
    assert (correct.mode, parity.mode) == ("correct", "parity:muse")
    assert [line.cells[0].value for table in (correct, parity) for line in table.lines()] == [2.0, 1.0]


def test_columns_are_the_roles_there_are() -> None:
    (table,) = tables({"scores": [score("a", "unlearned", 1.0), score("b", "base", 2.0)]})
    assert table.roles == ("unlearned", "base")
    cell = table.lines()[1].cell("unlearned") if table.lines()[0].metric == "a" else table.lines()[0].cell("unlearned")
    assert cell is not None
    assert cell.note == "not measured for this model"
    assert any("No model retrained without the data" in note for note in table.notes)


def test_other_seeds_of_the_retrained_model_are_named() -> None:
    scores = [
        score("a", role, value) for role, value in (("retrained", 5.9), ("retrained-2", 5.8), ("retrained-3", 6.1))
    ]
    (table,) = tables({"scores": scores})
    assert table.roles == ("retrained",)
    assert "other seeds: 5.800, 6.100" in table.lines()[0].cells[0].note


def test_basis_names_n_clusters_half_and_exclusions() -> None:
    given = score("a", "unlearned", 1.0, half="whole", clusters=1, seeds=1, excluded={"7": "empty", "9": "empty"})
    (table,) = tables({"scores": [given]})
    assert table.lines()[0].basis == "n 200, 1 cluster, single seed, whole set, 2 left out (empty)"


def test_what_holds_for_every_model_is_said_once() -> None:
    few = "too few clusters: 2"
    scores = [score("a", role, 1.0, reason=few) for role in ("original", "unlearned", "retrained")]
    (table,) = tables({"scores": scores})
    assert [cell.note for cell in table.lines()[0].cells] == ["", "", ""]
    assert table.lines()[0].basis == f"n 200, 10 clusters, reporting half; {few}"
    scores[1]["reason"] = "another"
    (table,) = tables({"scores": scores})
    assert [cell.note for cell in table.lines()[0].cells] == [few, "another", few]


def headline_score(value: float | None) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"name": "forget_probability", "value": 0.25, "original": 0.9, "unlearned": 0.3, "retrained": 0.1, "gap": 0.2,
         "gap_interval": [0.1, 0.3], "reason": None},
        {"name": "forget_rougeL_recall", "value": None, "reason": "not measured here"},
        {"name": "forget_truth_ratio", "value": math.nan, "reason": "not measured here"},
    ]  # fmt: skip
    return score("forgetting_gap", "unlearned", value, parts=parts, reason="1 of 3 parts", direction="down")


def test_a_headline_comes_with_its_parts() -> None:
    (table,) = tables({"scores": [headline_score(0.25), score("forget_probability", "original", 0.9)]})
    assert [heading for heading, _ in table.groups] == ["Headlines against the retrained model", "What should be gone"]
    line = table.lines()[0]
    before, unlearned = line.cells
    assert (before.applies, before.text, before.note) == (False, "–", "")
    assert (unlearned.text, unlearned.note) == ("0.2500", "1 of 3 parts")
    assert line.gap_text == "–"
    assert line.parts == (
        "Probability of the forgotten answers: share 0.2500; 0.9000 before, 0.3000 unlearned and 0.1000 retrained; "
        "gap +0.2000 (0.1000 to 0.3000)",
        "not measured here: True answer in what it says (ROUGE-L) on the forget set and Truth ratio on the forget set",
    )


def test_headlines_without_a_number_do_not_come_first() -> None:
    (table,) = tables({"scores": [headline_score(None), score("forget_probability", "unlearned", 0.9)]})
    assert [heading for heading, _ in table.groups][-1] == "Headlines against the retrained model"


def test_area_equals_the_count_of_pairs() -> None:
    forget, holdout = [0.1, 0.5, 0.5, 2.0, 3.0], [0.5, 1.0, 2.0, 2.5]
    pairs = [(h > f) + 0.5 * (h == f) for f, h in itertools.product(forget, holdout)]
    attack = loss_attack(forget, [*holdout, math.nan])
    assert attack is not None
    assert attack.area == pytest.approx(sum(pairs) / len(pairs), abs=1e-15)
    assert (attack.false_positive[0], attack.true_positive[0]) == (0, 0)
    assert (attack.false_positive[-1], attack.true_positive[-1]) == (1, 1)
    assert loss_attack(forget, []) is None


def test_best_remembered_and_worst_damaged() -> None:
    losses = {
        "original": {"forget": [0.1, 0.2, 0.3], "retain": [1.0, 1.0, 1.0, 1.0]},
        "unlearned": {"forget": [5.0, 0.4, math.nan], "retain": [1.1, 3.0, 0.5, math.nan]},
    }
    ids = {"forget": ["f0", "f1", "f2"], "retain": ["r0", "r1", "r2", "r3"]}
    best = examples.best_remembered(losses, ids)
    assert [(row.id, row.before, row.after, row.retrained) for row in best] == [
        ("f1", "0.8187", "0.6703", "not measured"),
        ("f0", "0.9048", "0.0067", "not measured"),
    ]
    worst = examples.worst_damaged(losses, ids)
    assert [(row.id, row.before, row.change) for row in worst] == [
        ("r1", "1.000", "+2.000"),
        ("r0", "1.000", "+0.1000"),
        ("r2", "1.000", "-0.5000"),
    ]
    assert examples.best_remembered(losses, {})[0].id == "row 1 of the set, from 0"
    losses["original"]["retain"].pop()
    assert examples.worst_damaged(losses, ids) == []


def test_the_path_prefers_checks_to_noisy_batches(run: Run) -> None:
    points, source = course.path(run.history)
    assert source == "checks on steering examples"
    assert len(points) == 13
    for line in run.history:
        line.pop("checks", None)
    points, source = course.path(run.history)
    assert source == "training batches, means of 6"
    mean = sum(line["forget_loss"] for line in run.history[:6]) / 6
    assert points[0][0] == pytest.approx(mean)


def test_the_share_predicted_as_a_removed_class_is_no_loss(run: Run) -> None:
    for line in run.history:
        if "checks" in line:
            line["checks"] |= {"agreement": None, "forget_loss": 0.5}
    titles = {figure.title: str(figure.svg) for figure in course.figures(run.history)[0]}
    assert "predicted as removed: from 0.5000 to 0.5000" in titles["Removed classes"]
    assert "forget, checked" not in titles["Losses"]
    assert course.path(run.history)[1] == "training batches, means of 6"


def test_a_method_without_similarity_says_so(run: Run) -> None:
    for line in run.history:
        line |= {"similarity": None, "rho": None, "beta": None, "lambda_eff": None, "kappa": None}
    figures, words = course.figures(run.history)
    assert "Similarity of the two gradients" not in [figure.title for figure in figures]
    assert words.startswith("Not recorded in this run, or no part of its method: similarity of the two gradients")


def test_cost_falls_back_to_the_history(run: Run) -> None:
    assert ("gradient evaluations", "480") in facts.cost({}, run.history)
    assert ("wall-clock time", "3 min 12 s") in facts.cost({}, run.history)
    assert ("steps", "240") in facts.cost({}, run.history)  # the closing line is no step
    assert facts.cost({"cost": {"steps": 6, "gradients": 27.5}}, run.history)[:2] == [
        ("steps", "6"),
        ("gradient evaluations", "27.5"),
    ]
    assert facts.cost({}, []) == []


def test_long_lists_and_paths_are_shortened() -> None:
    assert facts.rows({"ids": [str(i) for i in range(1_900)]})[0][1].endswith("9, 10, 11 … (1,900 in all)")
    named = facts.main(
        {"model": "/very/long/way/to/model", "forget": "a/b.jsonl", "retain": None, "method": {"name": "npo"}}
    )
    assert named == [("Model", "…/to/model"), ("Method", "npo"), ("Forget set", "a/b.jsonl")]


def test_the_verdict_is_broken_into_sentences(run: Run) -> None:
    words = "Forgotten: undecided. " + "The loss is 5.83 nats (95 % interval: 5.6 to 6.0). " * 9
    run.metrics["verdict"]["words"] = words
    card = verdict.card(run.metrics, run.config, run.manifest, run.history, None)
    assert card.words.startswith("Forgotten: undecided. The loss")
    assert len(card.words) < 300
    assert " ".join([card.words, *card.reasons]) == words.strip()
    assert card.reasons[-1] == "The loss is 5.83 nats (95 % interval: 5.6 to 6.0)."


def test_limits_depend_on_what_was_measured(run: Run) -> None:
    def said(*attacks: str) -> str:
        return " ".join(limits.limits(run.metrics, run.distributions, attacks))

    assert "How a model looks that never saw the data" not in said()
    for words in ("no relearning attack was run", "quantisation", "in other words", "many answers", "single seed"):
        assert words in said()
    assert "no relearning attack was run" not in said("relearning")
    assert "a stronger attacker chooses others" in said("relearning")
    assert "quantisation" not in said("quantisation")
    assert "an optimised prompt" in said("prompts")
    assert "there is a single one to compare with" in said()
    run.metrics["scores"].append(score("forget_accuracy", "unlearned", 3.0, seeds=3))
    assert "many answers" not in said()  # images have no answers
    assert "single seed" not in said()
    run.without_role("retrained").without_set("holdout")
    assert "How a model looks that never saw the data" in said()
    assert "there was no holdout" in said()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "1.000"),
        (9.99999, "10.000"),
        (0.00005, "5.0×10⁻⁵"),
        (12345678, "1.2×10⁷"),
        (True, "not measured"),
        ("5", "not measured"),
        (-0.0, "0"),
        (0.0005, "0.0005"),
    ],
)
def test_numbers(value: object, expected: str) -> None:
    assert number(value) == expected


def test_words_of_times_and_lists() -> None:
    assert [duration(s) for s in (0, 59.94, 60, 3_599.6, None)] == [
        "0.0 s", "59.9 s", "1 min 0 s", "1 h 0 min", "not measured",
    ]  # fmt: skip
    assert [count(n) for n in (0, 1_000.0, 1.5, None)] == ["0", "1,000", "1.5", "not measured"]
    assert [listed(parts) for parts in ([], ["a"], ["a", "b"])] == ["", "a", "a and b"]
    assert clean("a\r\nb\rc\td") == "a\nb␍c\td"


def test_diagnostics_of_a_round_are_drawn_where_they_were_recorded(run: Run) -> None:
    for line in run.history:
        line |= {"similarity_debiased": 0.4, "lambda_measured": 0.1, "similarity_share": 0.05}
        line |= {"forget_multiplier": 0.3, "retain_multiplier": None, "trust": 0.5, "gradients": 2 * line["step"]}
    drawn = {figure.title: str(figure.svg) for figure in course.figures(run.history)[0]}
    for title, words in {
        "Similarity of the two gradients": "without the bias of noise: from 0.4000 to 0.4000",
        "Balance": "measured: from 0.1000 to 0.1000",
        "Share of the similarity term": "share: from 0.0500 to 0.0500",
        "Multipliers of the priority": "of forgetting: from 0.3000 to 0.3000",
        "Trust region": "share: from 0.5000 to 0.5000",
        "Gradients spent": "gradients: from 2",
    }.items():
        assert words in drawn[title]
    assert "of keeping" not in drawn["Multipliers of the priority"]


def test_it_is_said_what_the_guard_did_and_what_was_left_to_the_penalty(run: Run) -> None:
    def told(kappa: float | None, guarded: bool) -> str:
        history = [{**line, "kappa": kappa if line["step"] % 2 else None, "guarded": guarded} for line in run.history]
        return course.figures(history)[1]

    assert f"The guard acted in {len(run.history)} of {len(run.history)} steps (100%)." in told(0.2, True)
    half = sum(line["step"] % 2 for line in run.history)
    assert f"κ was above 0 in {half} of {half} steps (100%) and the guard did not act" in told(0.2, False)
    assert "κ was never above 0" in told(-0.2, False)
    assert "guard" not in told(None, False)
