"""`ofmu bench derivatives` on a tiny model: errors against float64, counts, and what a back-end cannot do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ofmu.benchmarks import derivatives
from ofmu.errors import InputError
from toys import facts, llama, secrets, tokenizer


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("derivatives")
    llama().save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    for name, rows in (("forget", secrets()), ("retain", facts(range(6)))):
        Path(folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"model": str(folder / "model"), **{n: str(folder / f"{n}.jsonl") for n in ("forget", "retain")}}


def test_errors_and_counts(places: dict[str, str]) -> None:
    found = derivatives.run(derivatives.Options(batch=4, repeats=1, **places))
    assert found["facts"]["referee"] == "exact, float64"
    up, down = ({row["form"]: row for row in found["tables"][name]} for name in ("inner gradient", "penalty"))
    assert up["exact"]["error"] < 1e-5
    assert up["finite_difference"]["error"] < 1e-2
    assert up["central"]["error"] < 1e-3
    assert up["finite_difference"]["check"] < 1e-1
    assert down["exact"]["error"] < 1e-4
    assert down["central"]["error"] < 5e-2
    assert down["exact, then forward (C3)"]["error"] < 1e-2
    assert down["given retain gradient"]["error"] > 1e-2  # another penalty
    assert [up[name]["evaluations"] for name in ("finite_difference", "central", "held (C5)", "half of the batch")] == [
        4,
        6,
        1,
        4,
    ]
    counts = {name: row["evaluations"] for name, row in down.items()}
    assert (counts["finite_difference"], counts["central"], counts["secant (C4)"]) == (8, 18, 4)
    assert counts["no retain curvature (C6)"] == 6
    assert counts["given retain gradient"] == 5


def test_the_sweep_tells_how_near_the_automatic_steps_are_to_the_best(places: dict[str, str], tmp_path: Path) -> None:
    options = derivatives.Options(batch=2, repeats=1, sweep=1, output=str(tmp_path / "out"), **places)
    found = derivatives.run(options)
    steps, rows = found["tables"]["sweep of the steps"], found["tables"]["automatic steps and the best"]
    assert len(steps) == 18
    assert [row["factor"] for row in steps[:3]] == [0.1, 1.0, 10.0]
    assert [row["quantity"] for row in rows] == 2 * ["∇Φ", "y, steps inside", "y, step outside"]
    for row in rows:
        mine = [s for s in steps if (s["form"], s["quantity"]) == (row["form"], row["quantity"])]
        assert row["smallest error"] == min(s["error"] for s in mine if s["error"] is not None)
        assert row["error"] == mine[1]["error"] < 0.1
        assert mine[2]["error"] > 3 * row["error"]  # ten times too long: the sweep moves the steps that it names
    assert sorted(found["files"]) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "central: ∇Φ" in (tmp_path / "out/steps.svg").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="needs the referee"):
        derivatives.run(replace(options, referee=False))


def test_a_batch_is_no_larger_than_the_smaller_set(places: dict[str, str], tmp_path: Path) -> None:
    for name, size in (("two", 2), ("one", 1)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in facts(range(size))))
    whole = derivatives.Options(batch=64, repeats=1, referee=False)
    options = replace(whole, **places | {"retain": str(tmp_path / "two.jsonl")})
    found = derivatives.run(options)
    up, down = ({row["form"]: row for row in found["tables"][name]} for name in ("inner gradient", "penalty"))
    assert up["finite_difference"]["evaluations"] == 4
    assert down["finite_difference"]["evaluations"] == 8
    assert found["options"]["batch"] == 2
    with pytest.raises(InputError, match="the retain set has 1 examples"):
        derivatives.run(replace(options, retain=str(tmp_path / "one.jsonl")))


def test_data_of_one_side_are_not_enough(places: dict[str, str]) -> None:
    with pytest.raises(InputError, match="give both or neither"):
        derivatives.run(derivatives.Options(model=places["model"], forget=places["forget"]))
    with pytest.raises(InputError, match="needs --model"):
        derivatives.run(derivatives.Options(forget="a", retain="b"))
