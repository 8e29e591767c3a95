"""What save() writes can be read by everybody, is whole or not there, and has the type that came in."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoTokenizer,
)

from ofmu.errors import RunError
from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification
from ofmu.models.loading import load
from ofmu.models.saving import save

from .small import WordTokenizer, tiny_llama


def test_a_language_model_comes_back_byte_for_byte(stories: Path, tmp_path: Path) -> None:
    loaded = load(stories)
    assert save(loaded, tmp_path / "m", card="# Card\n") == tmp_path / "m"
    assert (tmp_path / "m/model.safetensors").read_bytes() == (stories / "model.safetensors").read_bytes()
    assert json.loads((tmp_path / "m/config.json").read_text())["use_cache"] is True
    assert (tmp_path / "m/README.md").read_text() == "# Card\n"
    assert loaded.model.config.use_cache is False
    text = "Once upon a time, naïve   Ω\n"
    assert AutoTokenizer.from_pretrained(tmp_path / "m")(text) == AutoTokenizer.from_pretrained(stories)(text)
    assert load(tmp_path / "m").fingerprint == loaded.fingerprint
    assert [file.name for file in tmp_path.iterdir()] == ["m"]  # nothing temporary is left


@pytest.mark.parametrize("tied", [True, False])
def test_bfloat16_in_bfloat16_out(tmp_path: Path, tied: bool) -> None:
    tiny_llama(tied=tied).to(torch.bfloat16).save_pretrained(tmp_path / "in")
    loaded = load(tmp_path / "in", tokenizer=WordTokenizer())
    save(loaded, tmp_path / "out", card="x")
    state = load_file(tmp_path / "out/model.safetensors")
    assert {value.dtype for value in state.values()} == {torch.bfloat16}
    assert ("lm_head.weight" in state) is not tied
    assert all(torch.equal(value, state[name]) for name, value in load_file(tmp_path / "in/model.safetensors").items())
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
    assert loaded.model.config.dtype == torch.float32


def test_mixed_types_stay_mixed(tmp_path: Path) -> None:
    model = tiny_llama().to(torch.bfloat16)
    model.model.norm.float()
    save(load(model, tokenizer=WordTokenizer()), tmp_path / "m", card="x")
    state = load_file(tmp_path / "m/model.safetensors")
    assert state["model.norm.weight"].dtype == torch.float32
    assert state["model.embed_tokens.weight"].dtype == torch.bfloat16


def test_the_resnet_loads_with_the_auto_classes(resnet20: Path, tmp_path: Path) -> None:
    loaded = load(resnet20)
    save(loaded, tmp_path / "m", card="x")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "m")
    given, saved = load_file(resnet20 / "model.safetensors"), load_file(tmp_path / "m/model.safetensors")
    assert set(given) == set(saved)
    assert all(torch.equal(given[name], saved[name]) for name in given)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    processor = AutoImageProcessor.from_pretrained(tmp_path / "m")
    values = processor(list(pixels), return_tensors="pt")["pixel_values"]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert np.allclose(values.numpy(), expected, atol=1e-6)
    assert loaded.processor is not None
    assert torch.equal(loaded.processor(pixels), values)
    with torch.no_grad():
        assert torch.equal(model(values).logits, loaded.model(values).logits)
    assert load(tmp_path / "m").notes == ()


def test_grey_images_go_through_the_saved_processor(tmp_path: Path) -> None:
    save(load(ConvNetForImageClassification(ConvNetConfig())), tmp_path / "m", card="x")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "m")
    pixels = np.arange(128, dtype=np.uint8).reshape(2, 8, 8, 1)
    values = processor(list(pixels), input_data_format="channels_last", return_tensors="np")["pixel_values"]
    assert values.shape == (2, 1, 8, 8)
    assert np.allclose(values[:, 0], (pixels[..., 0] / 255 - 0.5) / 0.5, atol=1e-6)


def test_a_plain_module_gets_its_state_dict(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).to(torch.float16)
    save(load(net), tmp_path / "m", card="x")
    state = load_file(tmp_path / "m/model.safetensors")
    assert {name: value.dtype for name, value in state.items()} == {"1.weight": torch.float16, "1.bias": torch.float16}


def test_a_model_with_contradicting_generation_settings_is_saved(tmp_path: Path) -> None:
    model = tiny_llama()
    model.generation_config.num_return_sequences = 3  # greedy decoding has one
    with pytest.raises(ValueError, match="num_return_sequences"):
        model.generation_config.validate(strict=True)
    save(load(model, tokenizer=WordTokenizer()), tmp_path / "m", card="x")
    assert json.loads((tmp_path / "m/generation_config.json").read_text())["bos_token_id"] == 1


@pytest.mark.parametrize("limit", [1_000, 50_000, 500_000])
def test_a_full_disk_leaves_the_old_model(stories: Path, tmp_path: Path, limit: int) -> None:
    loaded = load(stories)
    save(loaded, tmp_path / "m", card="old")
    before = {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(RunError, match=f"cannot write the model to {tmp_path / 'm'}: ") as caught:
            save(loaded, tmp_path / "m", card="new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
    assert loaded.model.config.use_cache is False
    save(loaded, tmp_path / "m", card="new")
    assert (tmp_path / "m/README.md").read_text() == "new"


def test_a_place_that_cannot_be_written(stories: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write the model to .*file/m: .*file: File exists"):
        save(load(stories), tmp_path / "file/m", card="x")


def test_what_a_killed_process_left_is_cleared(stories: Path, tmp_path: Path) -> None:
    (tmp_path / ".m.part").mkdir()
    (tmp_path / ".m.part/model.safetensors").write_bytes(b"half")
    save(load(stories), tmp_path / "m", card="x")
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_nothing_is_printed(stories: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save(load(stories), tmp_path / "m", card="x")
    assert capfd.readouterr() == ("", "")
