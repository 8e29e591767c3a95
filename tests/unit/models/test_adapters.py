"""LoRA: added, switched off, saved, continued, merged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from ofmu.errors import InputError
from ofmu.models.adapters import adapter_off, add_lora, merge, merged_from
from ofmu.models.loaded import Loaded
from ofmu.models.loading import load
from ofmu.models.saving import save
from ofmu.models.sharding import full_state

from .small import WordTokenizer, tiny_llama


def adapted(stories: Path, rank: int = 4) -> Loaded:
    """An adapter that really does something."""
    torch.manual_seed(0)
    loaded = add_lora(load(stories), rank)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.01)
    return loaded


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(3, 512, (2, 24), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def exact_logits(model: nn.Module, ids: Tensor) -> Tensor:
    """In float64: float32 sums alone differ by 2e-5 at logits of 20, whatever the form of the weights."""
    result = model.double()(ids).logits
    model.float()
    return result


@torch.no_grad()
def logits(model: nn.Module, ids: Tensor) -> Tensor:
    return model(ids).logits


def test_a_new_adapter_changes_nothing_and_trains_only_itself(stories: Path, ids: Tensor) -> None:
    plain = load(stories)
    before = logits(plain.model, ids)
    loaded = add_lora(plain, 4)
    assert loaded.adapter
    assert not loaded.came_as_adapter
    assert torch.equal(logits(loaded.model, ids), before)
    trained = [name for name, p in loaded.model.named_parameters() if p.requires_grad]
    assert len(trained) == 5 * 7 * 2
    assert all("lora_" in name for name in trained)
    assert loaded.model.peft_config["default"].lora_alpha == 8  # 2 · rank
    assert not any(module.training for module in loaded.model.modules())


def test_off_is_the_model_that_came_in(stories: Path, ids: Tensor) -> None:
    loaded = adapted(stories)
    before = logits(load(stories).model, ids)
    now = logits(loaded.model, ids)
    assert (now - before).abs().max() > 0.1
    with adapter_off(loaded.model) as off:
        assert off
        assert torch.equal(logits(loaded.model, ids), before)
    assert torch.equal(logits(loaded.model, ids), now)


def test_off_says_that_a_plain_model_has_nothing_to_switch_off() -> None:
    with adapter_off(nn.Linear(2, 2)) as off:
        assert not off


def test_adapter_and_merged_forms_have_equal_logits(stories: Path, ids: Tensor, tmp_path: Path) -> None:
    loaded = adapted(stories)
    now = logits(loaded.model, ids)
    save(loaded, tmp_path / "adapter", card="# a")
    save(loaded, tmp_path / "merged", card="# m", merge=True)
    assert torch.equal(logits(loaded.model, ids), now)  # saving changed nothing, bit for bit
    with adapter_off(loaded.model):
        assert torch.equal(logits(loaded.model, ids), logits(load(stories).model, ids))
    names = {file.name for file in (tmp_path / "adapter").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md", "tokenizer.json"} <= names
    assert "model.safetensors" not in names
    back = load(tmp_path / "adapter")
    assert back.adapter
    assert back.came_as_adapter
    assert torch.equal(logits(back.model, ids), now)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    expected = exact_logits(loaded.model, ids)
    assert (exact_logits(merged, ids) - expected).abs().max() < 1e-5
    assert torch.allclose(logits(merged, ids), now, rtol=1e-5, atol=1e-5)
    assert (exact_logits(merge(back).model, ids) - expected).abs().max() < 1e-5


def test_a_loaded_adapter_is_trained_on_and_saved_again(stories: Path, ids: Tensor, tmp_path: Path) -> None:
    save(adapted(stories), tmp_path / "a", card="x")
    loaded = load(tmp_path / "a")
    assert sum(p.requires_grad for p in loaded.model.parameters()) == 5 * 7 * 2
    assert loaded.fingerprint != load(stories).fingerprint
    with pytest.raises(InputError, match="is an adapter already"):
        add_lora(loaded, 4)
    save(loaded, tmp_path / "b", card="x")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with torch.no_grad():
        next(p for p in loaded.model.parameters() if p.requires_grad).add_(0.1)
    save(loaded, tmp_path / "b", card="x")
    assert torch.equal(logits(load(tmp_path / "b").model, ids), logits(loaded.model, ids))


def test_an_adapter_of_a_base_that_is_gone(stories: Path, tmp_path: Path) -> None:
    base = load(stories)
    save(base, tmp_path / "base", card="x")
    save(add_lora(load(tmp_path / "base"), 2), tmp_path / "a", card="x")
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="its base model is not there: there is no directory"):
        load(tmp_path / "a")


def test_without_a_place_of_the_base_the_merged_model_is_written(tmp_path: Path, tokens: Tensor) -> None:
    loaded = add_lora(load(tiny_llama(), tokenizer=WordTokenizer()), 2)
    save(loaded, tmp_path / "m", card="x")
    back = load(tmp_path / "m", tokenizer=WordTokenizer())
    assert not back.adapter
    assert torch.equal(logits(back.model, tokens), logits(loaded.model, tokens))


def test_merging_a_gathered_state_is_merging_the_model(stories: Path, ids: Tensor, tmp_path: Path) -> None:
    loaded = adapted(stories)
    save(loaded, tmp_path / "m", card="x", merge=True, state=full_state(loaded.model))
    difference = exact_logits(load(tmp_path / "m").model, ids) - exact_logits(loaded.model, ids)
    assert difference.abs().max() < 1e-5
    assert set(merged_from(loaded.model, full_state(loaded.model))) == set(load(stories).model.state_dict())


def test_lora_on_the_convolutions_of_a_resnet(resnet20: Path, tmp_path: Path) -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    loaded = load(resnet20)
    before = logits(loaded.model, x)
    loaded = add_lora(loaded, 2)
    assert torch.equal(logits(loaded.model, x), before)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    now = logits(loaded.model, x)
    assert (now - before).abs().max() > 0.1
    save(loaded, tmp_path / "a", card="x")
    assert torch.equal(logits(load(tmp_path / "a").model, x), now)
    state = full_state(loaded.model)
    for options in ({}, {"state": state}):
        save(loaded, tmp_path / "m", card="x", merge=True, **options)
        assert (logits(load(tmp_path / "m").model, x) - now).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "lora.rank is 0, but must be >= 1"),
        ({"rank": 4, "alpha": 0}, "lora.alpha is 0, but must be > 0"),
        ({"rank": 4, "dropout": 1.0}, "lora.dropout is 1, but must be >= 0 and < 1"),
        (
            {"rank": 4, "targets": ["q_proj", "v_prj"]},
            r"^lora\.targets is 'v_prj', but no layer of \S+ is called so; there are: down_proj, gate_proj, k_proj, "
            "o_proj, q_proj, up_proj, v_proj$",
        ),
        ({"rank": 4, "targets": "no.*thing"}, r"'no\.\*thing', but no layer .* there are: down_proj"),
        ({"rank": 4, "targets": "q_(proj"}, r"'q_\(proj', which is no regular expression: "),
        ({"rank": 4, "targets": ["layers.0"]}, "not every module of lora.targets is one layer; there are: down_proj"),
    ],
)
def test_options_out_of_range(stories: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        add_lora(load(stories), **options)  # pyright: ignore[reportArgumentType]


def test_targets_may_be_named(stories: Path) -> None:
    loaded = add_lora(load(stories), 2, alpha=5.0, dropout=0.1, targets=["q_proj"])
    assert sum(p.requires_grad for p in loaded.model.parameters()) == 10
    assert loaded.model.peft_config["default"].lora_alpha == 5.0


def test_a_plain_classifier_keeps_its_head_out_of_lora() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    loaded = add_lora(load(net), 2)
    names = {name.rsplit(".lora_", 1)[0] for name, p in loaded.model.named_parameters() if p.requires_grad}
    assert {name.rsplit(".", 1)[-1] for name in names} == {"1", "3"}
    assert loaded.model(torch.zeros(2, 4)).shape == (2, 3)
