"""The page on retain sampling has the tables of the result file; quarters and arms are what they say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ofmu.runs.config import Unlearn

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "retain_sampling", raising=False)
    import retain_sampling

    return retain_sampling


def test_the_page_has_the_tables_of_the_result_file(bench: ModuleType) -> None:
    rows = json.loads((ROOT / "benchmarks/results/retain_sampling.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/retain-sampling.md").read_text(encoding="utf-8")
    assert bench.conflicts(rows) in page
    for subject in ("tofu", "cifar"):
        found = bench.table(rows, subject)
        assert found in page
        assert found.count("\n") == 2 + len(bench.ARMS)  # head, line, before, arms


def test_quarters_are_all_positions_the_nearest_first(bench: ModuleType) -> None:
    near = np.array([0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.0, 0.6])
    assert bench.quarters(near) == [[1, 3], [5, 7], [2, 4], [0, 6]]


def test_the_arms_are_the_choices_of_the_option(bench: ModuleType) -> None:
    named = {options.get("retain_sampling", "uniform") for options in bench.ARMS.values()}
    assert named == {"uniform", "near", "mixed"}
    assert Unlearn.__dataclass_fields__["retain_sampling"].default == "uniform"
