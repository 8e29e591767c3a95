"""The page of the ablation has the figures of the result file; the method that solves the inner problem does so."""

from __future__ import annotations

import json
import re
import runpy
import statistics
from pathlib import Path

import pytest
import torch

from ofmu.engine.processes import processes
from smooth import smooth
from tasks import make_task

ROOT = Path(__file__).parents[3]
COLUMNS = {3: "forget_loss", 4: "forget_prob", 5: "retain_prob", 7: "mia_loss", 8: "late_norm_phi", 9: "kappa_positive"}
"""Place in a row → what the result file calls it."""


def test_every_row_is_the_mean_and_spread_of_its_runs():
    found = json.loads((ROOT / "benchmarks/results/ablation.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/ablation.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", page, re.M)[2:]]
    assert {row[0] for row in rows[2:]} == set(found) - {"full", "retain95"}
    for row in rows[2:]:
        runs = list(found[row[0]].values())
        assert row[1] == str(len(runs))
        for place, name in COLUMNS.items():
            values = [run[name] for run in runs if run.get(name) is not None]
            numbers = [float(number) for number in re.findall(r"[\d.]+", row[place])]
            assert bool(numbers) == bool(values), (row[0], name)
            if values:
                step = 0.51 * 10.0 ** -len(row[place].split(" ")[0].partition(".")[2])
                assert numbers[0] == pytest.approx(statistics.fmean(values), abs=step), (row[0], name)
            if len(numbers) == 2:
                assert numbers[1] == pytest.approx(statistics.stdev(values), abs=step), (row[0], name)
        if row[6]:
            gaps = [run["retain_prob"] - found["plain"][seed]["retain_prob"] for seed, run in found[row[0]].items()]
            assert float(row[6].split(" ")[0]) == pytest.approx(statistics.fmean(gaps), abs=6e-4), row[0]


@pytest.mark.parametrize("tolerance", [None, 0.5])
def test_inner_steps_are_taken_until_the_inner_problem_is_solved_to_the_tolerance(tolerance: float | None):
    method = runpy.run_path(str(ROOT / "benchmarks/solved_inner.py"))["SolvedInner"](
        tolerance=tolerance, lambda_eff=1.0
    )
    with processes(device="cpu", precision="fp32", parallel="auto") as ranks:
        task = make_task(smooth(), ranks, modality="image", method=method, learning_rate=2e-2)
        task.pace.steps = 200
        process, turns, objectives = method.start(task), [], []
        for _ in range(120):
            record = process.step()
            turns.append("up" if record.retain_loss is None else "down")
            if turns[-1] == "up":
                objectives.append(record.more["forget_objective"])
            task.pace.step += 1
    assert task.meter.gradients == 120
    if tolerance is None:
        assert turns == ["up", "down"] * 60
        return
    ups = 0
    for before, turn in enumerate(turns):
        ups += turn == "up"
        solved = statistics.fmean(objectives[max(0, ups - 4) : ups]) <= tolerance * objectives[0]
        if before + 1 < len(turns):
            assert turns[before + 1] == ("down" if turn == "up" and solved else "up")
    assert turns[:6] == ["up"] * 6
    assert "down" in turns
    assert torch.isfinite(torch.tensor(objectives)).all()
