"""`ofmu evaluate --from-log`: a run without a model, and what cannot be scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ofmu import evaluate
from ofmu.cli.main import main
from ofmu.errors import InputError
from ofmu.evaluation.records import Records
from ofmu.runs import stored
from ofmu.runs.attacked_run import read_run
from ofmu.runs.drawing import draw
from ofmu.runs.manifest import verify

LOSSES = {"unlearned": 1.5, "original": 0.1, "retrained": 2.5}


def log(folder: Path, role: str, *, examples: int = 200) -> Path:
    """A log of ten authors, whose losses differ by example in the same way for every model."""

    def by_index(mean: float) -> dict[str, Any]:
        losses = [mean * (1 + 0.3 * (index % 7) / 7) for index in range(examples)]
        return {str(i): {"prob": 2.718281828**-loss, "avg_loss": loss} for i, loss in enumerate(losses)}

    def scores(mean: float) -> dict[str, Any]:
        return {"value_by_index": {i: {"score": each["avg_loss"]} for i, each in by_index(mean).items()}}

    made = {
        "forget_Q_A_Prob": {"agg_value": 0.0, "value_by_index": by_index(LOSSES[role])},
        "retain_Q_A_Prob": {"agg_value": 0.0, "value_by_index": by_index(0.1)},
        "mia_min_k": {"forget": scores(LOSSES[role]), "holdout": scores(2.5), "agg_value": 0.0},
    }
    path = folder / f"{role}-{examples}.json"
    path.write_text(json.dumps(made))
    return path


def test_logs_are_scored_like_an_evaluation_of_ones_own(tmp_path: Path):
    places = {role: str(log(tmp_path, role)) for role in LOSSES}
    output = tmp_path / "run"
    run = evaluate(
        from_log=places["unlearned"],
        original_log=places["original"],
        retrained_log=[places["retrained"]],
        output=output,
    )
    assert run.score("forget_loss", "retrained") == pytest.approx(2.5 * (1 + 0.3 * 3 / 7), rel=0.01)
    assert run.score("mia_min_k", "original") == 1.0
    assert run.score("mia_min_k", "retrained") == 0.5
    gap = next(each for each in run.metrics["scores"] if (each["name"], each["role"]) == ("forget_loss", "unlearned"))
    assert 0.3 < gap["residual"] < 0.6
    assert gap["clusters"] == 10
    assert verify(output) == []
    assert Records.load(output / "records").roles == ("original", "unlearned", "retrained")
    assert "report" in draw(output, tmp_path / "again.html").read_text().lower()
    assert run.manifest["compared"].keys() == {"original", "retrained"}
    assert any("author" in note for note in run.notes)
    with pytest.raises(InputError, match="attacks need the model itself"):
        read_run(output)
    again = evaluate(**{k: v for k, v in stored.read(output / "config.yaml").items() if k.endswith("log")})
    assert again.metrics["scores"] == run.metrics["scores"]


def test_a_dry_run_reads_the_log_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = log(tmp_path, "unlearned")
    before = sorted(tmp_path.iterdir())
    assert main(["evaluate", "--from-log", str(path), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "TOFU log" in said
    assert "forget 200 in 10 clusters" in said
    assert sorted(tmp_path.iterdir()) == before


def test_logs_of_different_splits_are_refused(tmp_path: Path):
    own, other = log(tmp_path, "unlearned"), log(tmp_path, "retrained", examples=40)
    with pytest.raises(InputError, match="has 40 forget examples"):
        evaluate(from_log=own, retrained_log=[other], output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({}, r"'model' is missing; give --model \(or --from-log"),
        ({"model": "m"}, "'forget' is missing; give --forget"),
        ({"model": "m", "forget": "f"}, "'retain' is missing; give --retain"),
        ({"from_log": "l", "model": "m", "generate": True}, "leave out --model and --generate"),
        ({"from_log": "l", "retrained": ("m",)}, "leave out --retrained"),
        ({"retrained_log": "l", "model": "m"}, "--retrained-log is compared with a log; give --from-log"),
        ({"original_log": "l"}, "--original-log is compared with a log"),
        ({"from_log": "no/log.json"}, "no/log.json does not exist"),
    ],
)
def test_what_does_not_go_together_is_one_line(given: dict[str, Any], part: str):
    with pytest.raises(InputError, match=part):
        evaluate(**given)
