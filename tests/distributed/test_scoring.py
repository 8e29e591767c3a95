"""Two ranks score what one process scores, whether each has the model or a share of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toys import llama

from . import scoring
from .torchrun import torchrun


def test_a_sharded_and_a_copied_model_score_as_one_process(tmp_path: Path) -> None:
    ended = torchrun(Path(scoring.__file__), tmp_path)
    assert ended.returncode == 0, ended.stderr[-4000:]
    expected = scoring.losses(llama(), None)
    for parallel in ("fsdp", "ddp"):
        for longest in (512, 60):  # all in trees; the long ones in plain batches
            for rank in (0, 1):
                found = np.load(tmp_path / f"{parallel}-{longest}-{rank}.npz")
                assert set(found) == set(expected)
                for name, values in expected.items():
                    assert found[name] == pytest.approx(values, abs=1e-5), (parallel, longest, rank, name)
