"""``--retrained auto``: the yardstick is trained once, by the recipe, on the retain set alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import ofmu
import ofmu.runs.manifest
from ofmu.runs import retraining, stored
from ofmu.runs.config import Evaluate, Unlearn
from ofmu.runs.evaluate import plan as plan_evaluation
from ofmu.runs.listener import Interrupted, Silent
from ofmu.runs.unlearn import plan
from toys import facts, llama, pictures, save_llama, secrets, tokenizer, unseen, write_lines

FEW = {"steps": 3, "batch_size": 4, "device": "cpu"}
RECIPE = {"epochs": 2, "batch_size": 4, "learning_rate": 5e-3, "device": "cpu"}
STEPS = 5  # two passes over nine examples in batches of four


class Told(Silent):
    """Remembers what it heard; stops the training of a retrained model at a step, if told to."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.notes: list[str] = []
        self.trained = 0
        self._training, self._stop_at = False, stop_at

    def started(self, plan: dict[str, Any]) -> None:
        self._training = plan["method"] == "finetune"

    def step(self, line: dict[str, Any], total: int) -> None:
        self.trained += self._training
        if self._training and line["step"] == self._stop_at:
            raise Interrupted(None)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retraining")


@pytest.fixture(scope="module")
def base(place: Path) -> Path:
    return save_llama(place / "base")


@pytest.fixture(scope="module")
def data(place: Path) -> dict[str, Any]:
    return {
        "forget": str(write_lines(place / "forget.jsonl", secrets())),
        "retain": str(write_lines(place / "retain.jsonl", facts(range(9)))),
        "holdout": str(write_lines(place / "holdout.jsonl", unseen())),
    }


@pytest.fixture(scope="module")
def recipe(place: Path, data: dict[str, Any]) -> Path:
    """A model trained from random weights, its configuration a file."""
    (place / "config").mkdir()
    llama().config.save_pretrained(place / "config")
    tokenizer().save_pretrained(place / "config")
    everything = write_lines(place / "all.jsonl", [*facts(range(9)), *secrets()])
    ofmu.finetune(str(place / "config"), str(everything), output=place / "original", **RECIPE)
    return place / "original"


def manifest(run: Path) -> dict[str, Any]:
    return json.loads((run / "manifest.json").read_text())


def test_it_is_what_finetune_makes_of_the_retain_set(
    recipe: Path, data: dict[str, Any], place: Path, tmp_path: Path
) -> None:
    told = Told()
    given: dict[str, Any] = {"model": str(recipe / "model"), **data, **FEW, "method": "npo"}
    run = ofmu.unlearn(**given, retrained="auto", recipe=str(recipe), output=tmp_path / "run", listener=told)
    by_hand = ofmu.finetune(str(place / "config"), data["retain"], output=tmp_path / "hand", **RECIPE)
    assert run.manifest["compared"] == {"retrained": by_hand.manifest["model_after"]}
    assert told.trained == STEPS
    made = run.manifest["retraining"]
    assert (made["steps"], made["gradients"]) == (STEPS, float(STEPS))
    assert [(model["seed"], model["cached"]) for model in made["models"]] == [(0, False)]
    assert run.manifest["gradients"] == 3 * 2  # the yardstick is no cost of unlearning
    assert run.metrics["verdict"]["against"] == "retrained"
    assert any(
        note.startswith("retrained: a model trained on the retain set alone, 5 steps; 5 gradients")
        for note in told.notes
    )
    assert run.manifest["notes"][-1] in told.notes

    plain = ofmu.unlearn(**given, output=tmp_path / "plain")  # the yardstick never steers
    assert plain.manifest["model_after"] == run.manifest["model_after"]
    assert plain.metrics["verdict"]["against"] != "retrained"
    assert stored.read(tmp_path / "run" / "config.yaml")["retrained"] == ["auto"]
    assert ofmu.runs.manifest.verify(tmp_path / "run") == []  # the cache is part of the run


def test_the_second_time_nothing_is_trained(base: Path, data: dict[str, Any], tmp_path: Path) -> None:
    given: dict[str, Any] = {"model": str(base), **data, "device": "cpu", "retrained": "auto", "base": str(base)}
    cache: dict[str, Any] = {"cache": str(tmp_path / "cache")}
    first, again, more, other = Told(), Told(), Told(), Told()
    one = ofmu.evaluate(**given, **cache, output=tmp_path / "one", listener=first)
    assert first.trained == 2  # three passes over nine examples in batches of sixteen
    two = ofmu.evaluate(**given, **cache, output=tmp_path / "two", listener=again)
    assert again.trained == 0
    assert two.manifest["retraining"]["gradients"] == 0
    assert two.manifest["retraining"]["models"][0]["cached"] is True
    assert "from the cache" in two.manifest["notes"][-1]
    assert two.metrics["scores"] == one.metrics["scores"]

    three = ofmu.evaluate(**given, **cache, retrained_seeds=3, output=tmp_path / "three", listener=more)
    assert [model["cached"] for model in three.manifest["retraining"]["models"]] == [True, False, False]
    assert [model["seed"] for model in three.manifest["retraining"]["models"]] == [0, 1, 2]
    assert more.trained == 4
    assert {s["role"] for s in three.metrics["scores"]} >= {"retrained", "retrained-2", "retrained-3"}
    assert len({model["model"] for model in three.manifest["retraining"]["models"]}) == 3

    fewer = write_lines(tmp_path / "fewer.jsonl", facts(range(8)))  # other data: another model
    ofmu.evaluate(**given | {"retain": str(fewer)}, **cache, output=tmp_path / "four", listener=other)
    assert other.trained == 2

    for folder in (tmp_path / "cache").glob("retrained-*"):
        shutil.rmtree(folder / "model")
    with pytest.raises(ofmu.RunError, match="is damaged"):
        ofmu.evaluate(**given, **cache, output=tmp_path / "five")


def test_a_training_that_was_stopped_goes_on(base: Path, data: dict[str, Any], tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "model": str(base),
        **data,
        **FEW,
        "checkpoint_steps": 1,
        "method": "npo",
        "retrained": "auto",
    }
    given |= {"base": str(base)}
    with pytest.raises(Interrupted):
        ofmu.unlearn(**given, output=tmp_path / "run", listener=Told(stop_at=2))
    told = Told()
    run = ofmu.unlearn(**given, output=tmp_path / "run", resume=True, listener=told)
    whole = ofmu.unlearn(**given, output=tmp_path / "whole")
    assert run.manifest["compared"] == whole.manifest["compared"]
    assert run.manifest["model_after"] == whole.manifest["model_after"]
    assert told.trained == 1  # the first of two steps had its checkpoint


def forecast_of(given: dict[str, Any]) -> dict[str, Any] | None:
    config = stored.build("evaluate", given)
    assert isinstance(config, Evaluate)
    return plan_evaluation(config)["retraining"]


def test_a_dry_run_says_what_it_would_cost(
    recipe: Path, base: Path, data: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ofmu.cli.main import main

    given: dict[str, Any] = {
        "model": str(recipe / "model"),
        **data,
        "device": "cpu",
        "retrained": "auto",
        "recipe": str(recipe),
    }
    expected = {"models": 2, "cached": 0, "steps": STEPS, "gradients": 2.0 * STEPS}
    wanted = {**given, "retrained_seeds": 2, "cache": str(tmp_path / "cache")}
    unlearning = stored.build("unlearn", {**wanted, "steps": 1})
    assert isinstance(unlearning, Unlearn)
    assert plan(unlearning).retraining == expected
    assert forecast_of(wanted) == expected
    assert not list(tmp_path.iterdir())
    small = {**wanted, "recipe": None, "base": str(base)}  # two steps of 16, of which there are 9
    assert forecast_of(small) == {"models": 2, "cached": 0, "steps": 2, "gradients": 2 * 2 * 9 / 16}
    ofmu.evaluate(**{**wanted, "retrained_seeds": 1}, output=tmp_path / "run")
    expected |= {"cached": 1, "gradients": float(STEPS)}
    assert forecast_of(wanted) == expected

    flags = [word for name, value in wanted.items() for word in ("--" + name.replace("_", "-"), str(value))]
    capsys.readouterr()
    assert main(["evaluate", *flags, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"retraining: 2 models of {STEPS} steps on the retain set alone, {STEPS} gradients" in out
    assert "1 of them in the cache" in out
    assert main(["unlearn", *flags, "--steps", "1", "--dry-run"]) == 0
    assert "retraining: 2 models" in capsys.readouterr().out


def test_what_is_missing_or_wrong_is_one_line(
    recipe: Path, base: Path, data: dict[str, Any], place: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"model": str(base), **data, **FEW, "output": tmp_path / "run", "retrained": "auto"}

    def refused(**more: Any) -> str:
        with pytest.raises(ofmu.InputError) as error:
            ofmu.unlearn(**{**given, **more})
        assert not (tmp_path / "run").exists()
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "give it as --base, or give --recipe RUN" in refused()
    assert "is no run of ofmu finetune" in refused(recipe=str(place))
    stopped = Path(shutil.copytree(recipe, tmp_path / "stopped"))
    (stopped / "manifest.json").unlink()
    assert "was stopped before its end" in refused(recipe=str(stopped))
    text = (stopped / "config.yaml").read_text()
    (stopped / "config.yaml").write_text(text.replace("command: finetune", "command: unlearn"))
    assert "must be one of ofmu finetune" in refused(recipe=str(stopped))
    assert "stands alone" in refused(retrained=("auto", str(base)), base=str(base))
    assert "without --retrained auto" in refused(retrained=(), recipe=str(recipe))
    assert "without --retrained auto" in refused(retrained=str(base), retrained_seeds=3)
    memory = ofmu.finetune(llama(), facts(range(3)), tokenizer=tokenizer(), steps=1, output=tmp_path / "memory")
    assert "was in memory" in refused(recipe=str(memory.path))
    assert "retrained_seeds is 0" in refused(base=str(base), retrained_seeds=0)


def test_a_recipe_made_in_memory_gets_the_base_and_the_tokenizer_that_are_there(
    base: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    memory = ofmu.finetune(llama(), facts(range(3)), tokenizer=tokenizer(), steps=2, output=tmp_path / "memory")
    given: dict[str, Any] = {"model": str(base), **data, "device": "cpu", "retrained": "auto"}
    run = ofmu.evaluate(**given, recipe=str(memory.path), base=str(base), output=tmp_path / "run")
    assert run.manifest["retraining"]["steps"] == 2


@pytest.mark.parametrize("kind", ["plain", "pretrained"])
def test_a_base_in_memory_is_not_changed(kind: str, data: dict[str, Any], tmp_path: Path) -> None:
    given: dict[str, Any]
    if kind == "plain":
        torch.manual_seed(0)
        base: Any = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
        images, labels = pictures(24, seed=0)
        rows = [(torch.from_numpy(i).float().permute(2, 0, 1) / 255, int(n)) for i, n in zip(images, labels)]
        given = {"forget": Pictures(rows[:8]), "retain": Pictures(rows[8:])}
    else:
        base = llama()
        given = {"forget": secrets(), "retain": facts(range(9)), "tokenizer": tokenizer()}
    before = {name: value.clone() for name, value in base.state_dict().items()}
    cache: dict[str, Any] = {"cache": str(tmp_path / "cache"), "retrained": "auto", "device": "cpu"}
    runs = [ofmu.evaluate(base, base=base, **given, **cache) for _ in range(2)]
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    folder = next((tmp_path / "cache").glob("retrained-*"))
    trained = load_file(folder / "model" / "model.safetensors")
    assert any(not torch.equal(value, before[name]) for name, value in trained.items())
    assert [run.manifest["retraining"]["models"][0]["cached"] for run in runs] == [False, True]
    assert runs[0].manifest["compared"] == runs[1].manifest["compared"]
    assert runs[0].manifest["compared"]["retrained"] != runs[0].manifest["compared"]["base"]


class Pictures(torch.utils.data.Dataset):
    def __init__(self, rows: list[tuple[torch.Tensor, int]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._rows[index]


def test_without_evaluation_nothing_is_trained(base: Path, data: dict[str, Any], tmp_path: Path) -> None:
    told = Told()
    run = ofmu.unlearn(
        str(base),
        **data,
        **FEW,
        evaluation=False,
        retrained="auto",
        base=str(base),
        output=tmp_path / "r",
        listener=told,
    )
    assert told.trained == 0
    assert "retraining" not in run.manifest


def test_scores_of_reference_losses_go_to_the_cache_too(base: Path, data: dict[str, Any], tmp_path: Path) -> None:
    ofmu.unlearn(
        str(base), **data, **FEW, method="npo", cache=str(tmp_path / "cache"), output=tmp_path / "run", evaluation=False
    )
    assert list((tmp_path / "cache").glob("reference-*.json"))
    assert not (tmp_path / "run" / "cache").exists()
    assert retraining.forecast(()) is None
