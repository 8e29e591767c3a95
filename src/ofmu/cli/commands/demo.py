"""``ofmu demo``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofmu.cli.failures import DONE
from ofmu.cli.flags import Switch, Whole
from ofmu.cli.voice import Voice
from ofmu.errors import InputError

if TYPE_CHECKING:
    from ofmu.report.story import Story

PAGE = Path("ofmu-demo.html")


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for."""
    return given, demo


def demo(
    *,
    quick: Switch = False,
    seed: Whole = 0,
    seeds: Whole = 1,
    output: Path = PAGE,
    json: Switch = False,
    quiet: Switch = False,
) -> int:
    """The two built-in stories: digits and people are forgotten, and it is measured.

    Every method gets the same number of gradients; each story ends in a table before / unlearned / retrained without
    the data, both in one HTML page.

    Args:
        quick: Smaller models and fewer steps: to see that everything works, not what the methods can do.
        seed: Seed of everything drawn.
        seeds: Repetitions of each story, with seeds counted up; tables then show the spread.
        output: HTML file to write; replaced if it is there.
        json: Print one JSON object on standard output, and everything else on standard error.
        quiet: Print nothing but the path of the page.
    """
    if seed < 0 or seeds < 1:
        raise InputError(f"--seed is {seed} and must be >= 0; --seeds is {seeds} and must be >= 1")
    if not output.absolute().parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.absolute().parent}")
    with Voice(json=json, quiet=quiet) as voice:
        from ofmu.demo.stories import tell
        from ofmu.report.page import write_demo
        from ofmu.report.terminal import print_story

        told: list[Story] = []
        for story in tell(quick=quick, seed=seed, seeds=seeds, note=voice.say):
            told.append(story)
            voice.say()
            print_story(story, file=voice.words)
            voice.say()
        write_demo(output, stories=told)
        voice.say(str(output))
        voice.result({"command": "demo", "report": str(output), "stories": [_facts(story) for story in told]}, output)
    return DONE


def _facts(story: Story) -> dict[str, Any]:
    """A story's figures, without what is drawn."""
    return {
        "name": story.name,
        "question": story.question,
        "verdict": story.verdict,
        "columns": [asdict(column) for column in story.columns],
        "rows": [
            {
                "method": row.method,
                "kind": row.kind,
                "values": {key: asdict(value) for key, value in row.values.items()},
                "gradients": row.gradients,
                "seconds": row.seconds,
            }
            for row in story.rows
        ],
    }
