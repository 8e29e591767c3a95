"""Tables in a pipe are plain text, whole and honest; colours appear on a terminal only."""

from __future__ import annotations

import io
import re

import pytest

from ofmu.report import terminal
from ofmu.report.story import Story

from .conftest import Run, score


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(run: Run) -> str:
    stream = io.StringIO()
    terminal.print_run(run.metrics, title=run.title, file=stream)
    return stream.getvalue()


def test_the_table_has_all_three_models_and_gaps(run: Run) -> None:
    text = printed(run)
    head = next(line for line in text.splitlines() if "measured" in line)
    assert [part.strip() for part in head.strip("|").split("|")] == [
        "measured", "before", "unlearned", "retrained without the data", "gap",
    ]  # fmt: skip
    loss = next(line for line in text.splitlines() if "Loss on the forget set" in line)
    for part in ("0.0812", "5.831 (5.621 to 6.041)", "5.930", "-0.0990"):
        assert part in loss
    assert "\nVerdict: The 40 records are forgotten: loss and attack are within 0.1 of a model" in text


def test_missing_numbers_have_reasons(run: Run) -> None:
    run.metrics["scores"] = [score("mia_loss", "unlearned", None, reason="no holdout was given")]
    text = printed(run)
    assert "not measured" in text
    assert "Loss attack, unlearned: no holdout was given" in text
    assert "No model retrained without the data was given" in text
    run.metrics = {}
    assert "Nothing was measured" in printed(run)
    assert "Verdict: none was recorded." in printed(run)


JUDGED = (
    "To be forgotten: 40 examples. Forgotten: undecided. The figures neither show nor rule out that the model is as a "
    "model retrained without them, and that is all that can be said of them at this place by anybody who looks at it.",
    "Gone too far: no.",
    "Not shown: whether the knowledge can be brought back by teaching the model a little of the data again.",
)
FIGURES = [f"Mean of measure {k} on the forget set: 0.9000 before, 0.{k}000 now." for k in range(1, 8)]


def test_a_verdict_comes_in_short_paragraphs(run: Run) -> None:
    run.metrics["verdict"]["words"] = " ".join([*JUDGED[:2], *FIGURES, JUDGED[2]])
    text = printed(run)
    tail = text[text.index("Verdict: ") :].rstrip("\n").split("\n\n")
    assert tail[:2] == [f"Verdict: {JUDGED[0]} {JUDGED[1]}", JUDGED[2]]  # each whole in a pipe, however long
    assert tail[2].splitlines() == ["Every figure that it rests on:", *(f"- {figure}" for figure in FIGURES)]
    assert len(tail) == 3


def test_a_verdict_is_as_wide_as_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")  # rich takes a dumb one to be 80 wide
    run.metrics["verdict"]["words"] = " ".join([*JUDGED[:2], *FIGURES, JUDGED[2]])
    stream = Terminal()
    terminal.print_run(run.metrics, file=stream)
    text = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue())
    lines = text[text.index("Verdict: ") :].splitlines()
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()).startswith(f"Verdict: {JUDGED[0]} {JUDGED[1]}")


def test_a_reason_that_scores_share_is_said_once(run: Run) -> None:
    names = ("mia_loss", "mia_zlib")
    run.metrics["scores"] = [
        score(name, role, None, reason="no holdout set") for name in names for role in ("original", "unlearned")
    ]
    run.metrics["scores"].append(score("forget_loss", "unlearned", None, reason="no answers"))
    text = printed(run)
    assert text.count("no holdout set") == 1
    assert "Loss attack and Loss against compressed size (zlib): no holdout set\n" in text
    assert "Loss on the forget set, unlearned: no answers\n" in text


def test_a_pipe_gets_no_escape_sequence(run: Run, stories: list[Story], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # even if the environment asks: what reads a pipe may be a parser
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    stream = io.StringIO()
    terminal.print_run(run.metrics, file=stream)
    for story in stories:
        terminal.print_story(story, file=stream)
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_colours_unless_told_not_to(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    terminal.print_run(run.metrics, file=stream)
    assert "\x1b[" in stream.getvalue()


def test_strangers_strings_neither_command_nor_style(run: Run) -> None:
    run.title = "evil \x1b[31mred\x1b[0m \x07 [bold]markup[/bold] [link=x]"
    run.metrics["verdict"]["words"] = "[/] \x1b]0;title\x07 \u202e"
    text = printed(run)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "evil ␛[31mred␛[0m ␇ [bold]markup[/bold] [link=x]" in text
    assert "[/] ␛]0;title␇ ⟨U+202E⟩" in text


def test_the_rival_that_wins_has_the_star(stories: list[Story]) -> None:
    stream = io.StringIO()
    terminal.print_story(stories[0], file=stream)
    text = stream.getvalue()
    rows = {line.strip("|").split("|")[0].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert rows["npo"].count("*") == 2
    assert rows["ofmu"].count("*") == 1
    assert rows["grad_ascent"].count("*") == 0
    assert [rows["ofmu"].split("|")[i].strip() for i in (-3, -2)] == ["240", "6.1"]
    assert "a rival is better than ofmu: npo" in text
    assert "mean ± standard deviation over 3 seeds. Every method spent 240 gradient evaluations." in text
