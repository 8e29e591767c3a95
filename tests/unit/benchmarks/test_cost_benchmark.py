"""The cost benchmark: gradients as the table says, vectors counted, every form runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ofmu.benchmarks.cost import TINY, Options, counted, memory_of_its_own, run
from ofmu.benchmarks.cost_forms import forms
from ofmu.benchmarks.cost_subjects import Subject
from ofmu.benchmarks.cost_vectors import peak_vectors
from ofmu.errors import InputError


def test_vectors_are_counted_while_they_live() -> None:
    p = {"x": torch.zeros(3, 5), "y": torch.zeros(7)}

    def start():
        kept = [torch.ones_like(v) for v in p.values()]

        def step():
            three = [v + 1 for v in kept]
            del three
            torch.zeros(40, 40)  # of no parameter's shape
            return [v + 2 for v in p.values()]

        return step

    peak = peak_vectors(p, start)
    assert peak.vectors == 3  # the weights, what is kept, one result
    assert peak.made_by["weights"] == 1


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("paired step", 5),
        ("inner C2 forward", 7),
        ("outer C4 secant", 9),
        ("outer C2 forward", 9),
        ("round default", 6),
        ("round default in conflict", 8),
        ("round default with penalty", 10),
        ("round of 5 C2 forward", 10),
    ],
)
def test_no_step_holds_more_vectors_than_the_table_says(name: str, most: int) -> None:
    """What a fraction is left for are the temporaries of single tensors."""
    assert counted(forms()[name]).vectors < most + 0.3


def test_every_form_takes_the_gradients_of_the_table(tmp_path: Path) -> None:
    """`run` refuses a form that does not."""
    output = tmp_path / "cost.json"
    found = run(Options(**TINY, repeats=1, memory=False, vectors=False, output=str(output)))
    assert json.loads(output.read_text(encoding="utf-8")) == found
    costs, (facts,) = found["tables"]["costs"], found["tables"]["subject"]
    assert [row["form"] for row in costs] == list(forms())
    assert all(row["seconds"] > 0 and row["of_pairs"] > 0 for row in costs)
    assert facts["trained"] == facts["weights"]


def test_other_subjects_and_one_form() -> None:
    adapted = run(Options(**TINY, lora=2, forms="inner C2", repeats=1, memory=False, vectors=False))
    (facts,) = adapted["tables"]["subject"]
    assert facts["trained"] < facts["weights"]
    found = run(Options(model="resnet20", batch=2, forms="inner C7", repeats=1, memory=False, vectors=False))
    assert found["tables"]["costs"][0]["gradients"] == 2
    with pytest.raises(InputError, match="no form has a name with 'outre'"):
        run(Options(forms="outre"))


def test_the_peak_of_a_process_of_its_own() -> None:
    found = memory_of_its_own(Subject(**TINY), "paired step")
    assert 0 <= found["above_idle_mb"] < found["peak_mb"]
