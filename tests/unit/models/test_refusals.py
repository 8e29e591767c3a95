"""Every source that is no usable model gets one clear line."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, ResNetConfig, ResNetModel

from ofmu.errors import InputError
from ofmu.models.loading import load

from .small import WordTokenizer, tiny_llama


def refusal(source: object, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        load(source, **options)  # pyright: ignore[reportArgumentType]
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_llama().save_pretrained(tmp_path / "m")
    return tmp_path / "m"


def edit(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("name", ["no/such/place", "./here", "/nowhere/model", "a b", ""])
def test_a_missing_directory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "":
        assert "is no model" in refusal(name)  # the working directory, as a path
    else:
        assert refusal(name) == f"there is no directory {name}"


def test_a_hub_name_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    start = time.monotonic()
    message = refusal("nobody-here/no-such-model")
    assert message.startswith("there is no directory nobody-here/no-such-model; taken as a hub name")
    assert "the hub cannot be reached" in message
    assert time.monotonic() - start < 60


def test_a_file(stories: Path) -> None:
    assert "is a file; a model is a directory" in refusal(stories / "model.safetensors")


def test_an_empty_folder_and_a_folder_of_other_things(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert "expected config.json and model.safetensors" in message
    assert "found an empty directory" in message
    for name in "abcdefg":
        (tmp_path / f"{name}.txt").touch()
    assert "found a.txt, b.txt, c.txt, d.txt, e.txt and 2 more" in refusal(tmp_path)


def test_a_folder_of_models(model: Path) -> None:
    assert refusal(model.parent) == f"{model.parent} holds no model itself; its folders m do: name one"


def test_a_config_without_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert "has a config.json but no weights: expected model.safetensors" in refusal(model)


def test_a_cut_and_a_wrong_weight_file(model: Path) -> None:
    file = model / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    assert "is cut" in refusal(model)
    file.write_bytes(content[:6])
    assert "no safetensors file" in refusal(model)
    file.write_bytes(b"\x10" + b"\0" * 7 + b"not a json heade" + b"\0" * 50)
    assert "does not parse" in refusal(model)


def test_weights_that_are_missing_or_of_another_shape(model: Path) -> None:
    file = model / "model.safetensors"
    state = load_file(file)
    norm = state.pop("model.norm.weight")
    save_file(state, file, metadata={"format": "pt"})
    assert "lacks 1 of the weights of LlamaForCausalLM, first model.norm.weight" in refusal(model)
    save_file(state | {"model.norm.weight": norm[:5].clone()}, file, metadata={"format": "pt"})
    assert "cannot read the model" in refusal(model)


def test_a_broken_config(model: Path) -> None:
    (model / "config.json").write_text("{")
    assert "config.json is not valid JSON" in refusal(model)
    (model / "config.json").write_text("[]")
    assert "must hold a JSON object, found a list" in refusal(model)


def test_an_unknown_kind_and_remote_code(model: Path) -> None:
    edit(model, model_type="martian")
    assert "model type 'martian', which transformers does not know" in refusal(model)
    edit(model, auto_map={"AutoModelForCausalLM": "modeling.Martian"})
    (model / "modeling.py").write_text("raise SystemExit('ran')")
    assert "--trust-remote-code (trust_remote_code=True in Python)" in refusal(model)


def test_quantised_weights(model: Path) -> None:
    edit(model, quantization_config={"quant_method": "bitsandbytes"})
    assert "is quantised" in refusal(model)


def test_a_model_of_another_kind(tmp_path: Path) -> None:
    shape = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    BertModel(shape).save_pretrained(tmp_path / "bert")
    message = refusal(tmp_path / "bert", tokenizer=WordTokenizer(9))
    assert "lacks" in message or "neither a causal language model" in message
    net = ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic")
    ResNetModel(net).save_pretrained(tmp_path / "resnet")
    assert "lacks 2 of the weights of ResNetForImageClassification" in refusal(tmp_path / "resnet")


def test_other_bare_weights(tmp_path: Path, resnet20: Path) -> None:
    state = load_file(resnet20 / "model.safetensors")
    save_file(state | {"layer2.0.shortcut.0.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert "only a CIFAR ResNet is recognised" in refusal(tmp_path)
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert "(first names: w)" in refusal(tmp_path)


def test_no_tokenizer_and_a_wrong_one(model: Path) -> None:
    assert "comes without a tokenizer" in refusal(model)
    assert "has 65 tokens, the model" in refusal(model, tokenizer=WordTokenizer(65))
    assert "has no tokenizer" in refusal(model, tokenizer=str(model))


def test_something_that_is_no_model_at_all() -> None:
    assert "not a dict" in refusal({})
    assert "must be one" in refusal(torch.nn.Linear(2, 2), modality="text")


def test_random_weights_need_a_configuration(tmp_path: Path) -> None:
    assert "has no config.json" in refusal(tmp_path, random_weights=True)
    file = tmp_path / "c.json"
    file.write_text('{"model_type": "martian"}')
    assert f"{file}: config.json names model type 'martian'" in refusal(file, random_weights=True)


def test_adapters_without_base_or_weights(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    config = folder / "adapter_config.json"
    config.write_text('{"peft_type": "LORA"}')
    assert "does not name its base model" in refusal(folder)
    config.write_text('{"peft_type": "LORA", "base_model_name_or_path": "/gone/away"}')
    assert "its base model is not there: there is no directory /gone/away" in refusal(folder)
    config.write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(model)}))
    assert "has no weights: expected adapter_model.safetensors" in refusal(folder)
    (folder / "adapter_model.bin").touch()
    assert "only pickled weights (adapter_model.bin); pass --allow-pickle" in refusal(folder)
