"""Who is called best: whoever was, rival or not, and nobody beyond what noise allows."""

from __future__ import annotations

from ofmu.report.comparison import budget, lines
from ofmu.report.story import Estimate, MethodRow, Story, StoryColumn


def story(columns: list[StoryColumn], rows: list[MethodRow]) -> Story:
    return Story("name", "question", columns, rows, "verdict", seeds=3)


def row(method: str, mean: float | None, spread: float | None = None, kind: str = "method") -> MethodRow:
    return MethodRow(method, {"c": Estimate(mean, spread)}, 100, 1.0, kind=kind)  # pyright: ignore[reportArgumentType]


def test_the_nearest_to_the_retrained_model_wins_not_the_highest() -> None:
    column = StoryColumn("c", "Forget loss")
    told = story(
        [column], [row("ofmu", 5.0), row("grad_ascent", 90.0), row("npo", 5.8), row("r", 6.0, kind="retrained")]
    )
    assert told.best(column) == {"npo"}
    assert told.standing() == "Forget loss: a rival is better than ofmu: npo."


def test_references_cannot_win() -> None:
    column = StoryColumn("c", "Test accuracy", "up")
    told = story([column], [row("before", 0.99, kind="before"), row("ofmu", 0.9), row("r", 0.98, kind="retrained")])
    assert told.best(column) == {"ofmu"}


def test_a_difference_within_noise_is_a_tie() -> None:
    column = StoryColumn("c", "Forget loss")
    rows = [row("ofmu", 5.7), row("npo", 5.9), row("simnpo", 5.2), row("r", 6.0, 0.25, kind="retrained")]
    told = story([column], rows)
    assert told.best(column) == {"ofmu", "npo"}
    assert told.standing() == "Forget loss: ofmu is level with npo."
    assert [line.cells[0].best for line in lines(told)] == [True, True, False, False]


def test_down_and_stated_targets() -> None:
    down, aimed = StoryColumn("c", "Gap", "down"), StoryColumn("c", "Chance", "as_retrained", target=0.1)
    told = story([down, aimed], [row("ofmu", 0.11), row("npo", 0.02)])
    assert told.best(down) == {"npo"}
    assert told.best(aimed) == {"ofmu"}


def test_without_a_target_nobody_is_best() -> None:
    column = StoryColumn("c", "Forget loss")
    told = story([column], [row("ofmu", 5.0), row("npo", 5.8)])
    assert told.best(column) == frozenset()
    assert told.standing() == "Forget loss: nobody is marked best, as there is no target."


def test_a_failed_method_neither_wins_nor_counts_as_zero() -> None:
    column = StoryColumn("c", "Loss", "down")
    told = story([column], [row("ofmu", 1.0), row("npo", None), row("simnpo", float("nan"))])
    assert told.best(column) == {"ofmu"}
    assert [line.cells[0].text for line in lines(told)] == ["1.000", "not measured", "not measured"]


def test_unequal_budgets_are_said() -> None:
    rows = [MethodRow("ofmu", {}, 480, 1.0), MethodRow("npo", {}, 240, 1.0)]
    assert budget(story([], rows)) == "The methods did not spend the same: 240 to 480 gradient evaluations."
    assert budget(story([], rows[:1])) == "Every method spent 480 gradient evaluations."
    assert "not counted" in budget(story([], [MethodRow("ofmu", {}, None, 1.0)]))
