"""Every input that cannot be used: the command itself, its one line, its exit code 2, and nothing written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification

from .command import Command, Flags, facts, listing, without, words, write_lines

Change = Callable[[Path], Flags]
"""Flags other than those of a good run, with the files that they name made in a folder."""


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def always(flag: str, value: object) -> Change:
    return lambda folder: {flag: value}


def rows(flag: str, name: str, content: list[dict] | str) -> Change:
    def change(folder: Path) -> Flags:
        path = folder / name
        return {flag: text(path, content) if isinstance(content, str) else write_lines(path, content)}

    return change


def by_ids(ids: str) -> Change:
    def change(folder: Path) -> Flags:
        data = write_lines(folder / "all.jsonl", facts(range(6)))
        return {"--data": data, "--forget-ids": text(folder / "ids.txt", ids)}

    return change


def config_file(content: str) -> Change:
    return lambda folder: {"--config": text(folder / "run.yaml", content)}


def small_classifier(folder: Path, classes: int) -> Path:
    shape = ConvNetConfig(image_size=8, widths=(2, 2), hidden_size=2, num_labels=classes)
    ConvNetForImageClassification(shape).save_pretrained(folder / "m")
    return folder / "m"


def pickled(folder: Path) -> Flags:
    path = small_classifier(folder, 3)
    torch.save({}, path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    return {"--model": path}


def with_code(folder: Path) -> Flags:
    (folder / "m").mkdir()
    code = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    text(folder / "m" / "config.json", json.dumps(code))
    text(folder / "m" / "own.py", f"open({str(folder / 'ran')!r}, 'w')")
    return {"--model": folder / "m"}


def images(folder: Path) -> Flags:
    """Of classes 0, 1 and 3."""
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 1), dtype=np.uint8)
    np.savez(folder / "forget.npz", images=pixels[:3], labels=np.array([0, 1, 3]))
    np.savez(folder / "retain.npz", images=pixels[3:], labels=np.array([0, 1, 0]))
    return {"--forget": folder / "forget.npz", "--retain": folder / "retain.npz"}


def no_model(folder: Path) -> Flags:
    return {"--model": write_lines(folder / "m" / "notes.txt", []).parent}


def occupied(folder: Path) -> Flags:
    (folder / "full").mkdir()
    text(folder / "full" / "thesis.tex", "precious")
    return {"--output": folder / "full"}


UNUSABLE: dict[str, tuple[Change, list[str]]] = {
    "missing file": (always("--forget", "no/such.jsonl"), ["no/such.jsonl"]),
    "line that does not parse": (
        rows("--forget", "bad.jsonl", '{"question": "a", "answer": "b"}\n{"question": \n'),
        ["bad.jsonl:2"],
    ),
    "wrong columns": (
        rows("--forget", "bad.jsonl", [{"q": "a", "a": "b"}]),
        ["bad.jsonl", "found", "q", "question", "answer"],
    ),
    "empty forget set": (rows("--forget", "empty.jsonl", ""), ["empty.jsonl"]),
    "empty retain set": (rows("--retain", "empty.jsonl", ""), ["empty.jsonl"]),
    "id that does not exist": (by_ids("fact-1\nfact-99\n"), ["fact-99"]),
    "same example in both sets": (
        rows("--retain", "twice.jsonl", [*facts(range(3)), *facts(range(4, 6))]),
        ["3", "fact-0", "--allow-overlap"],
    ),
    "forget set as holdout": (
        rows("--holdout", "seen.jsonl", facts(range(2))),
        ["2", "both the holdout set", "and the forget set", "fact-0", "--allow-overlap"],
    ),
    "kept example in the holdout": (
        rows("--holdout", "seen.jsonl", facts(range(4, 5))),
        ["1 example is", "both the holdout set", "and the retain set", "fact-4", "--allow-overlap"],
    ),
    "prompt with no completion": (
        rows("--forget", "half.jsonl", [{"question": "a", "answer": ""}]),
        ["half.jsonl:1"],
    ),
    "not a number in the place of an answer": (
        rows("--forget", "gap.jsonl", '{"question": 1, "answer": NaN}\n'),
        ["gap.jsonl:1", "column 'answer' is nan"],
    ),
    "labels out of the classifier's range": (
        lambda folder: {"--model": small_classifier(folder, 3), **images(folder)},
        ["forget.npz", "3"],
    ),
    "images for a language model": (images, ["the forget set holds images", "is a language model"]),
    "directory that is no model": (no_model, ["is no model", "config.json", "notes.txt"]),
    "model that is not there": (always("--model", "/no/such/model"), ["/no/such/model"]),
    "output that holds something else": (occupied, ["full", "holds something else"]),
    "output that cannot be written": (
        lambda folder: {"--output": text(folder / "file", "x") / "run"},
        ["output", "run", "cannot be written"],
    ),
    "missing retain set and a deep output": (
        lambda folder: {"--retain": folder / "no.jsonl", "--output": folder / "made" / "run"},
        ["no.jsonl"],
    ),
    "pickled weights": (pickled, ["pytorch_model.bin", "--allow-pickle"]),
    "remote code": (with_code, ["--trust-remote-code"]),
    "unknown flag": (always("--bugdet", "3"), ["Unknown option: --bugdet", "--budget"]),
    "no number": (always("--seed", "many"), ["--seed", '"many"']),
    "fraction of a seed": (always("--seed", "1.9"), ["--seed", '"1.9"', "is no whole number"]),
    "infinite steps": (always("--steps", "inf"), ["--steps", '"inf"', "is no whole number"]),
    "built-in metric as a further one": (always("--metrics", "loss"), ["'loss' is built in and measured in any case"]),
    "out of range": (always("--batch-size", "0"), ["batch_size is 0, but must be >= 1"]),
    "nested out of range": (always("--lora.rank", "0"), ["lora.rank is 0, but must be >= 1"]),
    "no finite number": (always("--learning-rate", "inf"), ["learning_rate is inf, but must be a finite number > 0"]),
    "LoRA without a rank": (always("--lora.alpha", "8"), ["--lora.alpha is given without --lora.rank"]),
    "LoRA on a layer that is not there": (
        lambda folder: {"--lora.rank": 2, "--lora.targets": "nothing"},
        ["lora.targets is 'nothing', but no layer of ", "there are: down_proj, gate_proj, k_proj"],
    ),
    "budget too small for a step": (
        always("--budget", "0.5"),
        ["--budget is 0.5, but one step of this method takes about 2 gradients"],
    ),
    "method's option out of range": (always("--method.beta", "-1"), ["method.beta is -1, but must be >= 0"]),
    "unknown choice": (always("--precision", "fp16"), ["fp16", '"fp32"', '"bf16"']),
    "both ways to give the data": (
        lambda folder: {**by_ids("fact-1")(folder), "--forget": "x", "--retain": "y"},
        ["--data", "--forget-ids", "not both"],
    ),
    "no configuration there": (always("--config", "no.yaml"), ["no.yaml", "No such file"]),
    "no YAML": (config_file("seed: 1\nsteps: [\n"), ["run.yaml, line 3: not valid YAML"]),
    "unknown key": (config_file("sede: 1\n"), ["run.yaml: unknown option 'sede' (did you mean 'seed'?)"]),
    "unknown key of a method": (
        config_file("method: {name: npo, bta: 1}\n"),
        ["run.yaml: unknown option of npo 'method.bta' (did you mean 'method.beta'?)"],
    ),
    "configuration of another command": (config_file("command: finetune\n"), ["run.yaml", "'ofmu finetune'"]),
    "run that is not there": (
        lambda folder: {"--output": folder / "nothing", "--resume": None},
        ["nothing", "holds no run to resume"],
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_input_that_cannot_be_used(name: str, ofmu: Command, given: Flags, tmp_path: Path):
    change, parts = UNUSABLE[name]
    changed = change(tmp_path)
    good = without(given, "--forget", "--retain") if "--data" in changed else given
    before = listing(tmp_path)
    ended = ofmu("unlearn", *words(good | changed))
    assert ended.code == 2, ended
    assert ended.out in ("", "reading model and data\n")
    for part in ("ofmu: ", *parts):
        assert part in ended.line
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("unlern", ['Unknown command "unlern"', '"unlearn"']),
        ("unlearn nop", ["unknown method 'nop' (did you mean 'npo'?)", "there are: grad_ascent, "]),
        ("unlearn npo simnpo", ["unexpected word 'simnpo'"]),
        ("unlearn npo --method.bta 1", ["--method.bta", "Did you mean --method.beta?"]),
        ("unlearn ofmu --method.inner-steps 2.5", ["--method.inner-steps", '"2.5"', "is no whole number"]),
        ("attack run --seeds 1.5", ["--seeds", '"1.5"', "is no whole number"]),
        ("attack run --batch-size 1.5", ["--batch-size", '"1.5"', "is no whole number"]),
        ("demo --seed 1.5", ["--seed", '"1.5"', "is no whole number"]),
        ("unlearn npo --method.retain k", ["--method.retain", '"nll"', '"kl"']),
        ("unlearn --seed", ["--seed", "requires an argument"]),
        ("unlearn --output x", ["'model' is missing; give --model"]),
        ("unlearn --model m --forget f --retain r", ["give --output"]),
        ("unlearn --resume", ["--resume needs the run"]),
        ("unlearn --resume no/run", ["no/run holds no run to resume"]),
        ("finetune --model m --output x", ["'data' is missing; give --data"]),
        ("finetune --model m --data d --forget f", ["Unknown option: --forget"]),
        ("evaluate --model m --forget f", ["'retain' is missing; give --retain"]),
        ("methods nop", ["unknown method 'nop' (did you mean 'npo'?)"]),
        ("metrics los", ["unknown metric 'los' (did you mean 'loss'?)"]),
        ("verify no/run", ["no/run is not a folder"]),
        ("report no/run", ["no/run holds no finished run"]),
        ("report a b --output c.html", ["--output names one file, but 2 runs were given"]),
    ],
)
def test_words_that_cannot_be_used(
    line: str, parts: list[str], ofmu: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    ended = ofmu(*line.split())
    assert ended.code == 2, ended
    assert ended.out == ""
    for part in ("ofmu: ", *parts):
        assert part in ended.line
    assert listing(tmp_path) == []


@pytest.mark.parametrize("content", ["{}", "[]", '{"files": {"a": 1}}', '{"files": {}}', "{", b"\xff"])
def test_a_manifest_that_is_none(content: str | bytes, ofmu: Command, tmp_path: Path):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "manifest.json").write_bytes(content.encode() if isinstance(content, str) else content)
    for line in ("verify", "report", "attack"):
        ended = ofmu(line, tmp_path / "fake")
        assert ended.code == 2, ended
        assert str(tmp_path / "fake") in ended.line
    assert listing(tmp_path / "fake") == ["manifest.json"]


def test_a_place_where_nothing_can_be_made(ofmu: Command, given: Flags):
    ended = ofmu("unlearn", *words(given | {"--output": "/proc/no/run", "--quiet": None}))
    assert ended.code == 2
    assert ended.line.startswith("ofmu: output /proc/no/run cannot be written: ")
    assert ended.line.endswith("; give a folder elsewhere")


@pytest.mark.parametrize("command", ["attack", "verify", "report", "methods", "metrics", "demo"])
def test_help_states_no_default_of_a_switch(command: str, ofmu: Command):
    assert "False" not in ofmu(command, "--help").out


def test_a_device_that_is_not_there(ofmu: Command, given: Flags, tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    ended = ofmu("unlearn", *words(given | {"--device": "cuda"}))
    assert ended.code == 2, ended
    assert "cuda" in ended.line
    assert listing(tmp_path) == []


def test_for_programs_the_reason_is_one_object(ofmu: Command, given: Flags):
    ended = ofmu("unlearn", *words(given | {"--batch-size": 0, "--json": None}))
    assert ended.code == 2
    assert ended.object["error"]["exit_code"] == 2
    assert ended.line == f"ofmu: {ended.object['error']['message']}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everywhere")
def test_what_the_user_may_not_read_or_write_is_named(ofmu: Command, given: Flags, forget: Path, tmp_path: Path):
    secret = Path(shutil.copy(forget, tmp_path / "secret.jsonl"))
    secret.chmod(0)
    (tmp_path / "locked").mkdir(mode=0o500)
    for flag, path in {"--forget": secret, "--output": tmp_path / "locked" / "run"}.items():
        ended = ofmu("unlearn", *words(given | {flag: path}))
        assert ended.code == 2
        assert str(path) in ended.line
    assert listing(tmp_path / "locked") == []
