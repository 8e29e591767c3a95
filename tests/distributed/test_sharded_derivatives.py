"""Two ranks, sharded or copied, differentiate as one process does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ofmu.engine.processes import processes

from . import derivatives
from .torchrun import torchrun

BARS = {
    "inner, forward": 1e-7,
    "inner, central": 1e-9,
    "outer, central": 1e-6,
    "outer, forward": 1e-3,  # differences of differences: noise about the fourth root of a gradient's
    "outer, secant": 1e-5,
}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    ended = torchrun(Path(derivatives.__file__), folder)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return folder


def test_derivatives_agree_with_one_process(two_ranks: Path) -> None:
    with processes(device="cpu", precision="fp32", parallel="auto") as alone:
        expected = derivatives.gradients(alone)
    for parallel in ("fsdp", "ddp"):
        first, second = (torch.load(two_ranks / f"{parallel} {rank}.pt") for rank in (0, 1))
        assert set(first) == set(expected) == set(BARS)
        for name, true in expected.items():
            size = sum(float(x.square().sum()) for x in true.values()) ** 0.5
            apart = sum(float((first[name][n] - x).square().sum()) for n, x in true.items()) ** 0.5
            print(f"{parallel}, {name}: {apart / size:.1e}")
            assert size > 0
            assert apart < BARS[name] * size, (parallel, name)
            assert all(torch.equal(first[name][n], second[name][n]) for n in true)


def test_back_ends_that_need_whole_parameters_refuse_sharded_ones_and_name_one_that_works(two_ranks: Path) -> None:
    for rank in (0, 1):
        sharded, copied = (torch.load(two_ranks / f"{parallel} refused {rank}.pt") for parallel in ("fsdp", "ddp"))
        assert set(sharded) == {"exact", "gauss_newton"}
        for name, said in sharded.items():
            assert f"derivatives '{name}' cannot see through sharded parameters" in said
            assert "finite_difference" in said
        assert not any(copied.values())
