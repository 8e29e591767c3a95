"""Run-time efficiency: a ratio, of runs on one machine only."""

from __future__ import annotations

import pytest

from ofmu.errors import InputError
from ofmu.evaluation.run_time import RunTime, speedup


def manifest(seconds: float, device: str = "cpu") -> dict:
    return {"seconds": seconds, "steps": 10, "gradients": 20.0, "forwards": 3.0, "environment": {"device": device}}


def test_the_ratio_of_seconds():
    retrained, unlearned = RunTime.of(manifest(120.0)), RunTime.of(manifest(8.0))
    assert speedup(retrained, unlearned) == 15
    assert (unlearned.steps, unlearned.gradients, unlearned.forwards, unlearned.device) == (10, 20.0, 3.0, "cpu")


def test_runs_that_do_not_compare_are_refused():
    with pytest.raises(InputError, match="one machine only"):
        speedup(RunTime.of(manifest(120.0, "cuda:0")), RunTime.of(manifest(8.0)))
    with pytest.raises(InputError, match="cannot be compared"):
        speedup(RunTime.of(manifest(120.0)), RunTime.of(manifest(0.0)))
