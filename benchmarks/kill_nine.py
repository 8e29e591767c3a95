"""Kill -9 at random moments, resume, compare: `python benchmarks/kill_nine.py [KILLS] [SEED] [full|lora]`.

A run of the real command on a tiny Llama is killed again and again, at a random step or while a checkpoint is being
written, and resumed each time. Full fine-tuning and LoRA. The final bytes must be those of a run without a stop.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from runs.killing import (
    LORA,
    Running,
    given,
    history,
    last_checkpoint,
    same_but_time,
    weights,
)


def main(kills: int = 10, seed: int = 0, only: str | None = None) -> int:
    """Print a table; 0 if every run ended with the same bytes."""
    draw = random.Random(seed)
    print("| run | killed | steps taken | last checkpoint |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        words = given(Path(folder), STEPS)
        results = [
            _row(name, [*words, *more], Path(folder) / name, kills, draw)
            for name, more in MODES.items()
            if only in (None, name)
        ]
    print("\n| run | kills | same bytes | history the same | resumed at |\n|---|---|---|---|---|")
    for name, bytes_same, history_same, resumed in results:
        print(f"| {name} | {kills} | {bytes_same} | {history_same} | {resumed} |")
    return 0 if all(row[1] and row[2] for row in results) else 1


STEPS = 32
MODES: dict[str, list[object]] = {"full": [], "lora": list(LORA)}


def _row(name: str, words: list[object], place: Path, kills: int, draw: random.Random) -> tuple[str, bool, bool, list]:
    whole, run = place / "whole", place / "run"
    place.mkdir()
    assert Running([*words, "--output", whole], whole, fresh=True).ended()[0] == 0
    start: list[object] = [*words, "--output", run]
    for _ in range(kills):
        running = Running(start, run, fresh=True)
        least = last_checkpoint(run) + draw.randrange(1, 2 * STEPS // kills)
        if draw.random() < 0.4:
            when, killed = f"while a checkpoint is written after step {least}", running.kill_while_writing(least)
        else:
            when = f"after step {least}"
            killed = running.wait_for(lambda found, least=least: found.steps() >= least, draw.random() * 0.02)
            running.kill()
        assert killed, "the run ended before it was killed"
        print(f"| {name} | {when} | {running.steps()} | {last_checkpoint(run)} |", flush=True)
        start = ["--resume", run]
    code, error = Running(start, run, fresh=True).ended()
    assert code == 0, error
    resumed = json.loads((run / "manifest.json").read_text())["resumed_at_steps"]
    return name, weights(run) == weights(whole), same_but_time(history(run), history(whole)), resumed


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3]), *sys.argv[3:4]))
