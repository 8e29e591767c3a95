"""Two ranks, sharded or copied, do what one process does on the same global batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ofmu.engine.nearness import nearness
from ofmu.engine.processes import processes

from . import rounds
from .torchrun import torchrun


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    ended = torchrun(Path(rounds.__file__), folder)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return folder


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return sum(float((one[name].double() - other[name].double()).square().sum()) for name in one) ** 0.5


@pytest.mark.parametrize("name", rounds.CASES)
def test_a_round_agrees_with_one_process(name: str, two_ranks: Path) -> None:
    case = rounds.CASES[name]
    with processes(device="cpu", precision="fp32", parallel="auto") as alone:
        before, after, task = rounds.one_round(case, alone)
    way = distance(before, after)
    assert way > 0
    for parallel in ("fsdp", "ddp"):
        first, second = (torch.load(two_ranks / f"{parallel} {name} {rank}.pt") for rank in (0, 1))
        share = distance(first["after"], after) / way
        print(f"{parallel} {name}: {share:.2g} of the way of the round")
        assert share < case.bar, parallel
        assert distance(first["after"], second["after"]) == 0
        assert first["gradients"] == task.meter.gradients


@pytest.mark.parametrize("parallel", ["fsdp", "ddp"])
def test_a_state_taken_apart_and_put_together_goes_on_bit_for_bit(parallel: str, two_ranks: Path) -> None:
    straight, resumed = torch.load(two_ranks / f"{parallel} resumed 0.pt")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.parametrize("parallel", ["fsdp", "ddp"])
def test_the_same_retain_examples_are_near(parallel: str, two_ranks: Path) -> None:
    first, second = (torch.load(two_ranks / f"{parallel} nearness {rank}.pt", weights_only=False) for rank in (0, 1))
    with processes(device="cpu", precision="fp32", parallel="auto") as alone:
        assert first == pytest.approx(nearness(rounds.task_of(rounds.llama(), alone)), abs=1e-6)
    assert (first == second).all()
