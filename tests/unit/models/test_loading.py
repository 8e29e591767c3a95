"""What load() reads: folders, configurations, bare weights; and what it says about them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ofmu.errors import InputError
from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification
from ofmu.models.loading import load
from ofmu.models.processors import make_processor
from ofmu.models.weights import fingerprint

from .small import WordTokenizer, tiny_llama


def test_language_model_folder(stories: Path) -> None:
    loaded = load(stories)
    assert (loaded.modality, loaded.dtype, loaded.context) == ("text", torch.float32, 512)
    assert not loaded.adapter
    assert not loaded.in_memory
    assert loaded.num_classes is None
    assert loaded.origin == str(stories)
    assert not any(module.training for module in loaded.model.modules())
    assert loaded.model.config.use_cache is False
    assert loaded.use_cache is True
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight
    assert len(loaded.tokenizer) == 512
    state = load_file(stories / "model.safetensors")
    assert torch.equal(loaded.model.state_dict()["model.norm.weight"], state["model.norm.weight"])


def test_bfloat16_on_disk_becomes_float32_and_is_remembered(tmp_path: Path) -> None:
    model = tiny_llama()
    model.to(torch.bfloat16).save_pretrained(tmp_path / "m")
    loaded = load(tmp_path / "m", tokenizer=WordTokenizer())
    assert loaded.dtype == torch.bfloat16
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert torch.equal(loaded.model.model.norm.weight, model.model.norm.weight.float())


def test_fingerprint_sees_one_bit_one_name_and_no_order(stories: Path) -> None:
    model = load(stories).model
    first = fingerprint(model)
    assert fingerprint(load(stories).model) == first
    with torch.no_grad():
        weight = model.model.norm.weight
        weight[3] = torch.nextafter(weight[3], torch.tensor(9.0))
    assert fingerprint(model) != first


def test_the_fingerprint_is_sha256_of_names_types_shapes_and_bytes() -> None:
    layer = torch.nn.Linear(2, 1)
    text = hashlib.sha256()
    for name, value in (("bias", layer.bias), ("weight", layer.weight)):
        text.update(f"{name}\0torch.float32\0{tuple(value.shape)}\0".encode() + value.detach().numpy().tobytes())
    assert fingerprint(layer) == text.hexdigest()


def test_a_model_in_memory_has_the_fingerprint_of_its_folder(stories: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(stories)
    assert load(model).fingerprint == load(stories).fingerprint


def test_in_memory_tokenizer_comes_from_where_the_model_came_from(stories: Path) -> None:
    loaded = load(AutoModelForCausalLM.from_pretrained(stories))
    assert len(loaded.tokenizer) == 512
    assert loaded.origin == str(stories)


def test_tokenizer_may_be_given_as_object_or_folder(stories: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(stories)
    assert load(stories, tokenizer=tokenizer).tokenizer is tokenizer
    assert len(load(stories, tokenizer=stories).tokenizer) == 512


def test_bare_cifar_weights_are_recognised_and_said_so(resnet20: Path) -> None:
    loaded = load(resnet20)
    assert (loaded.modality, loaded.num_classes, loaded.dtype) == ("image", 10, torch.float32)
    assert type(loaded.model).__name__ == "CifarResNetForImageClassification"
    assert loaded.processor is not None
    assert loaded.processor.mean == (0.485, 0.456, 0.406)
    assert loaded.processor.std == (0.229, 0.224, 0.225)
    assert loaded.processor.size == (32, 32)
    assert loaded.processor.plain
    assert "ResNet-20 with 10 classes" in loaded.notes[0]
    assert "ImageNet" in loaded.notes[1]


def test_random_weights_from_a_file_and_from_a_folder(tmp_path: Path, stories: Path) -> None:
    torch.manual_seed(3)
    first = load(stories, random_weights=True)
    torch.manual_seed(3)
    shutil.copy(stories / "config.json", tmp_path / "shape.json")
    second = load(tmp_path / "shape.json", random_weights=True, tokenizer=stories)
    torch.manual_seed(4)
    third = load(stories, random_weights=True)
    assert first.fingerprint == second.fingerprint != third.fingerprint
    assert first.fingerprint != load(stories).fingerprint
    assert first.origin is None


def test_random_weights_of_our_own_classifier(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    file.write_text(json.dumps({"model_type": "ofmu_convnet", "num_channels": 3, "image_size": 12}))
    loaded = load(file, random_weights=True)
    assert isinstance(loaded.model, ConvNetForImageClassification)
    assert loaded.model(torch.zeros(2, 3, 12, 12)).logits.shape == (2, 10)
    assert loaded.processor is not None
    assert loaded.processor.size == (12, 12)


def test_modality_that_does_not_fit_is_refused(stories: Path, resnet20: Path) -> None:
    with pytest.raises(InputError, match="model for text, but modality image"):
        load(stories, modality="image")
    with pytest.raises(InputError, match=r"no config\.json"):
        load(resnet20, modality="text")


def test_sharded_safetensors_and_a_missing_shard(tmp_path: Path) -> None:
    model = tiny_llama()
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 2
    assert load(tmp_path, tokenizer=WordTokenizer()).fingerprint == fingerprint(model)
    files[1].unlink()
    with pytest.raises(InputError, match=re.escape(f"{files[1].name} is missing")):
        load(tmp_path, tokenizer=WordTokenizer())


def test_pickled_weights_with_the_flag(tmp_path: Path) -> None:
    model = tiny_llama()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"only pickled weights \(pytorch_model\.bin\).*--allow-pickle"):
        load(tmp_path, tokenizer=WordTokenizer())
    loaded = load(tmp_path, tokenizer=WordTokenizer(), allow_pickle=True)
    assert loaded.fingerprint == fingerprint(model)


def test_a_processor_beside_the_model_wins(tmp_path: Path) -> None:
    ConvNetForImageClassification(ConvNetConfig()).save_pretrained(tmp_path)
    make_processor([0.1], [0.2], (8, 8)).save(tmp_path)
    loaded = load(tmp_path)
    assert loaded.processor is not None
    assert (loaded.processor.mean, loaded.processor.std) == ((0.1,), (0.2,))
    assert loaded.notes == ()


def test_nothing_is_printed(stories: Path, resnet20: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(stories)
    load(resnet20)
    assert capfd.readouterr() == ("", "")


def test_dtype_is_that_of_most_weights(tmp_path: Path) -> None:
    model = tiny_llama()
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = {name: v if "norm" in name else v.to(torch.bfloat16) for name, v in load_file(file).items()}
    save_file(state, file, metadata={"format": "pt"})
    loaded = load(tmp_path, tokenizer=WordTokenizer())
    assert loaded.dtype == torch.bfloat16
    assert loaded.dtypes["model.norm.weight"] == torch.float32
