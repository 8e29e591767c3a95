"""The real command under torchrun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from toys import facts, save_llama, secrets, write_lines

from .torchrun import torchrun


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("given")
    forget = write_lines(folder / "forget.jsonl", secrets())
    retain = write_lines(folder / "retain.jsonl", facts(range(9)))
    model = save_llama(folder / "llama")
    return ["--model", model, "--forget", forget, "--retain", retain, "--batch-size", 3, "--device", "cpu"]


def test_sharded_run_finishes_and_saves_a_model_that_loads(given: list[object], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from ofmu.cli.main import main

    more = ["--steps", 4, "--checkpoint-steps", 2, "--quiet", "--output"]
    ended = torchrun("-m", "ofmu", "unlearn", *given, *more, tmp_path / "two", "--parallel", "fsdp")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout == f"{tmp_path / 'two'}\n"  # one rank speaks
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert manifest["processes"] == 2
    history = [json.loads(line) for line in (tmp_path / "two" / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == [1, 2, 3, 4, 4]

    assert main(["unlearn", *map(str, [*given, *more, tmp_path / "one"])]) == 0
    two, one = (AutoModelForCausalLM.from_pretrained(tmp_path / name / "model").state_dict() for name in ("two", "one"))
    before = AutoModelForCausalLM.from_pretrained(given[1]).state_dict()
    off = sum(float((two[name] - one[name]).square().sum()) for name in one) ** 0.5
    way = sum(float((one[name] - before[name]).square().sum()) for name in one) ** 0.5
    assert way > 0
    assert off < 1e-2 * way
    assert torch.equal(two["lm_head.weight"], two["model.embed_tokens.weight"])
