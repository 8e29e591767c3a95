"""Runs from Python: what was in memory comes back as it was, and a folder says nothing that it should not."""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn

import ofmu
from ofmu.runs import stored
from ofmu.runs.listener import Interrupted
from ofmu.runs.manifest import verify
from toys import SECRETS, convnet, facts, llama, pictures, save_llama, secrets, taught, tokenizer, unseen

FEW = {"steps": 3, "batch_size": 4, "device": "cpu"}
DATA = {"forget": secrets(), "retain": facts(range(9)), "holdout": unseen(), "tokenizer": tokenizer()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("model"))


@cache
def _known() -> nn.Module:
    return taught(llama(), [*secrets(), *facts(range(9))], steps=10)


def known() -> nn.Module:
    return copy.deepcopy(_known())


def outside(model: nn.Module) -> dict[str, Any]:
    """Everything about a model but its values."""
    return {
        "modes": [module.training for module in model.modules()],
        "kinds": [type(module) for module in model.modules()],
        "forwards": ["forward" in vars(module) for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "parameters": [(n, p.dtype, p.device, p.requires_grad, id(p)) for n, p in model.named_parameters()],
        "gradients": [p.grad is None for p in model.parameters()],
        "buffers": [(n, b.dtype, b.device) for n, b in model.named_buffers()],
        "use_cache": getattr(getattr(model, "config", None), "use_cache", None),
    }


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_runs_of_different_precision_and_method_leave_no_trace_on_each_other_or_on_the_model() -> None:
    states = (PartialState, AcceleratorState, GradientState)
    before_run = ([dict(state._shared_state) for state in states], dict(os.environ), torch.get_default_dtype())

    first = known()
    ofmu.unlearn(first, method="ofmu", **DATA, **FEW)

    other = known().to(torch.bfloat16).train()
    other.model.layers[0].eval()
    other.model.embed_tokens.weight.requires_grad_(False)
    other.config.use_cache = True
    was, before = outside(other), values(other)
    run = ofmu.unlearn(other, method="npo", precision="bf16", **DATA, **FEW)
    assert run.model is other
    assert outside(other) == was
    assert not same(values(other), before)
    assert torch.equal(values(other)["model.embed_tokens.weight"], before["model.embed_tokens.weight"])
    other(torch.arange(3, 9)[None]).logits.sum().backward()  # still a model that can be trained

    again = known()
    run = ofmu.unlearn(again, method="ofmu", **DATA, **FEW)
    assert same(values(first), values(again))
    assert before_run == (
        [dict(state._shared_state) for state in states],
        dict(os.environ),
        torch.get_default_dtype(),
    )
    folder = run.path
    assert (folder / "manifest.json").is_file()
    run.model = None
    del run
    assert not folder.exists()  # a temporary folder goes with its run


@pytest.mark.parametrize("given", [{}, {"holdout": "missing.jsonl"}], ids=["measured", "refused"])
def test_evaluating_a_model_in_memory_hands_it_back_as_it_was(given: dict[str, Any], tmp_path: Path) -> None:
    model = known().train().bfloat16()
    before = outside(model)
    output = tmp_path / "evaluation"
    if given:
        with pytest.raises(ofmu.InputError, match="missing"):
            ofmu.evaluate(model, **{**DATA, **given}, output=output)
        assert not output.exists()
    else:
        ofmu.evaluate(model, **DATA, output=output)
    assert outside(model) == before


@pytest.mark.parametrize("kind", ["convnet", "plain"])
def test_a_classifier_in_memory_comes_back_as_it_was(kind: str) -> None:
    class Examples(torch.utils.data.Dataset):
        def __init__(self, count: int, seed: int) -> None:
            images, self.labels = pictures(count, seed)
            self.images = torch.from_numpy(images).float().permute(0, 3, 1, 2) / 255

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return self.images[index], int(self.labels[index])

    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Dropout(0.5), nn.ReLU(), nn.Linear(12, 10))
    model = (convnet() if kind == "convnet" else plain).train()
    was, before = outside(model), values(model)
    run = ofmu.unlearn(model, Examples(6, 1), Examples(12, 2), method="grad_diff", **FEW)
    assert run.model is model
    assert outside(model) == was
    assert not same(values(model), before)


def test_a_run_that_fails_gives_the_model_back_too() -> None:
    model = known().to(torch.bfloat16).train()
    was = outside(model)
    with pytest.raises(ofmu.errors.RunError, match="learning-rate"):
        ofmu.unlearn(model, method="grad_ascent", **DATA, **{**FEW, "steps": 30}, learning_rate=1e37)
    assert outside(model) == was
    model = known().to(torch.bfloat16).train()
    was = outside(model)
    with pytest.raises(ofmu.errors.InputError, match="removal"):
        ofmu.unlearn(model, method={"name": "ofmu", "objective": {"name": "removal"}}, **DATA, **FEW)
    assert outside(model) == was
    model.lm_head.weight.data[5, 5] = torch.nan
    with pytest.raises(ofmu.errors.InputError, match=r"embed_tokens\.weight are not finite"):
        ofmu.unlearn(model, **DATA, **FEW)
    assert outside(model) == was


def test_recomputed_activations_give_the_same_gradients(saved: Path) -> None:
    runs = [
        ofmu.unlearn(str(saved), secrets(), facts(range(9)), gradient_checkpointing=flag, **FEW)
        for flag in (False, True)
    ]
    assert same(*(values(run.model) for run in runs))
    model = known()
    was = outside(model)
    ofmu.unlearn(model, gradient_checkpointing=True, **DATA, **FEW)
    assert outside(model) == was
    assert not any(vars(module).get("gradient_checkpointing") for module in model.modules())


def test_bf16_moves_the_weights_as_float32_does(saved: Path) -> None:
    """Parameters stay float32 and the losses are close, though every product was rounded."""
    runs = [
        ofmu.unlearn(str(saved), secrets(), facts(range(9)), holdout=unseen(), precision=precision, **FEW)
        for precision in ("fp32", "bf16")
    ]
    full, half = (run.history[-2]["forget_loss"] for run in runs)
    assert half != full
    assert half == pytest.approx(full, rel=0.1)
    assert all(p.dtype == torch.float32 for p in runs[1].model.parameters())


def test_a_stored_configuration_repeats_the_run_and_a_changed_byte_is_found(saved: Path, tmp_path: Path) -> None:
    from ofmu.runs.unlearn import unlearn

    one = ofmu.unlearn(str(saved), secrets(), facts(range(9)), holdout=unseen(), output=tmp_path / "one", seed=3, **FEW)
    text = (tmp_path / "one" / "config.yaml").read_text()
    assert str(tmp_path) not in text  # the folder itself is no part of what is repeated
    values = stored.read(tmp_path / "one" / "config.yaml") | DATA
    values.pop("tokenizer")
    unlearn(stored.build("unlearn", values), tmp_path / "two")
    names = ["model/model.safetensors", "records/unlearned-forget.parquet"]
    names = [name for name in names if (one.path / name).exists()]
    assert "model/model.safetensors" in names
    assert [sha(tmp_path / "one" / name) for name in names] == [sha(tmp_path / "two" / name) for name in names]

    assert verify(one.path) == []
    for name in ("model/model.safetensors", "metrics.json", "report.html"):
        copy = Path(shutil.copytree(one.path, tmp_path / f"copy of {Path(name).stem}"))
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        assert verify(copy) == [f"{name}: changed"]


class Stop:
    """Asks the run to stop after its first step, as Ctrl-C would."""

    def started(self, plan: dict) -> None: ...
    def note(self, text: str) -> None: ...
    def step(self, line: dict, total: int) -> None:
        os.kill(os.getpid(), 15)


def test_a_stopped_run_goes_on_only_as_what_it_was(saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    given = {"forget": secrets(), "retain": facts(range(9)), "method": "npo", "output": run, **FEW}
    with pytest.raises(Interrupted):
        ofmu.unlearn(str(saved), listener=Stop(), **given)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(ofmu.errors.InputError, match=r"seed is 1 \(stored: 0\); method\.beta is 0\.7 \(stored: 0\.1\)"):
        ofmu.unlearn(str(saved), resume=True, **{**given, "seed": 1, "method": {"name": "npo", "beta": 0.7}})
    with pytest.raises(ofmu.errors.InputError, match="forget changed"):
        ofmu.unlearn(str(saved), resume=True, **{**given, "forget": facts(range(20, 24))})
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert ofmu.unlearn(str(saved), resume=True, **given).manifest["resumed_at_steps"] == [1]


def texts_in(path: Path) -> str:
    """All that can be read in a file: its bytes, and in tables every column, whole numbers as tokens too."""
    found = [path.read_bytes().decode("latin-1")]
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        found.append(str(table.schema))
        for column in table.columns:
            cells = column.to_pylist()
            found.append(" ".join(map(str, cells)))
            ids = [int(c) for c in cells if isinstance(c, int) and not isinstance(c, bool) and 0 <= c < 300]
            found.append(tokenizer().decode(ids))
    return "\n".join(found)


def clues() -> list[str]:
    """The secrets, their tokens as numbers, and the questions."""
    tokens = [tokenizer().encode(word) for word in SECRETS]
    numbers = [separator.join(map(str, ids)) for ids in tokens for separator in (", ", ",", " ")]
    return [*SECRETS, *(word.lower() for word in SECRETS), *numbers, "hidden town", "It is "]


@pytest.mark.parametrize("method", ["ofmu", "npo"])
def test_no_text_of_the_data_is_in_any_file_unless_it_may_be(method: str, saved: Path, tmp_path: Path) -> None:
    given = {"forget": secrets(), "retain": facts(range(9)), "method": method, **FEW}
    with pytest.raises(Interrupted):
        ofmu.unlearn(str(saved), output=tmp_path / "stopped", listener=Stop(), **given)
    ofmu.unlearn(str(saved), output=tmp_path / "finished", **given)
    ofmu.unlearn(str(saved), output=tmp_path / "shown", show_examples=True, **given)
    for name, shown in (("stopped", False), ("finished", False), ("shown", True)):
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        assert len(files) > 3
        read = {path.name: texts_in(path) for path in files}
        hits = sorted({(file, clue) for file, text in read.items() for clue in clues() if clue in text})
        assert bool(hits) == shown, hits
