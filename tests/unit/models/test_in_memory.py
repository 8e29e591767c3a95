"""A model in memory goes back as it came: object, modes, types, gradients, settings."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM

from ofmu.errors import InputError
from ofmu.models.adapters import add_lora, merge, remove
from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification
from ofmu.models.keeping import Keep
from ofmu.models.loading import load

from .small import WordTokenizer, tiny_llama


@pytest.fixture
def model() -> LlamaForCausalLM:
    """Bfloat16, half frozen, one block in training mode, with a gradient."""
    made = tiny_llama().to(torch.bfloat16)
    made.model.layers[0].train()
    made.model.embed_tokens.weight.requires_grad_(False)
    made.model.norm.weight.grad = torch.ones_like(made.model.norm.weight)
    return made


def facts(model: nn.Module) -> dict[str, object]:
    return {
        "modes": [(name, module.training) for name, module in model.named_modules()],
        "parameters": [
            (name, id(p), p.dtype, p.device, p.requires_grad, p.grad is None) for name, p in model.named_parameters()
        ],
        "buffers": [(name, b.dtype, b.device) for name, b in model.named_buffers()],
    }


def test_load_and_restore(model: LlamaForCausalLM) -> None:
    before, values = facts(model), {n: p.detach().clone() for n, p in model.named_parameters()}
    gradient = model.model.norm.weight.grad
    loaded = load(model, tokenizer=WordTokenizer())
    assert loaded.model is model
    assert (loaded.in_memory, loaded.dtype, loaded.name) == (True, torch.bfloat16, "LlamaForCausalLM")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(module.training for module in model.modules())
    assert model.config.use_cache is False
    assert model.model.norm.weight.grad is None
    assert loaded.keep is not None
    assert loaded.keep.restore() is model
    assert facts(model) == before
    assert model.config.use_cache is True
    assert model.model.norm.weight.grad is gradient
    assert all(torch.equal(p, values[n]) for n, p in model.named_parameters())


def test_restore_after_lora_and_merge(model: LlamaForCausalLM, tokens: torch.Tensor) -> None:
    before = facts(model)
    loaded = add_lora(load(model, tokenizer=WordTokenizer()), 2)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
        adapted = loaded.model(tokens).logits
    plain = merge(loaded)
    assert plain.model is model
    assert torch.allclose(model(tokens).logits, adapted, atol=1e-5)
    assert plain.keep is not None
    plain.keep.restore()
    assert facts(model) == before


def test_restore_after_lora_is_taken_out(model: LlamaForCausalLM, tokens: torch.Tensor) -> None:
    before, logits = facts(model), model.eval()(tokens).logits
    model.model.layers[0].train()
    loaded = remove(add_lora(load(model, tokenizer=WordTokenizer()), 2))
    assert loaded.model is model
    assert loaded.keep is not None
    loaded.keep.restore()
    assert facts(model) == {**before}
    assert torch.equal(model.eval()(tokens).logits, logits)


def test_keep_as_context_manager_restores_after_an_error(model: LlamaForCausalLM) -> None:
    before = facts(model)

    def spoil() -> None:
        with Keep(model):
            model.float().train()
            model.set_attn_implementation("eager")
            model.requires_grad_(True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spoil()
    assert facts(model) == before
    assert model.config._attn_implementation == "sdpa"


def test_after_an_error_alone_the_model_is_handed_back(model: LlamaForCausalLM) -> None:
    before = facts(model)
    loaded = load(model, tokenizer=WordTokenizer())
    with loaded.handed_back_on_error():
        assert facts(model) != before
    assert facts(model) != before  # still ours

    def interrupted() -> None:
        with loaded.handed_back_on_error():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert facts(model) == before


def test_a_refusal_leaves_the_model_as_it_was(model: LlamaForCausalLM) -> None:
    before = facts(model)
    with pytest.raises(InputError, match="comes without a tokenizer"):
        load(model)
    assert facts(model) == before


def test_a_plain_classifier() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 7)).double()
    before = facts(net)
    loaded = load(net)
    assert (loaded.modality, loaded.num_classes, loaded.dtype) == ("image", 7, torch.float64)
    assert loaded.processor is None
    assert loaded.dtypes["1.running_mean"] == torch.float64
    assert loaded.model(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    assert loaded.keep is not None
    loaded.keep.restore()
    assert facts(net) == before


def test_classes_are_not_guessed() -> None:
    assert load(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.LayerNorm(3))).num_classes is None


def test_our_classifier_in_memory_has_a_processor() -> None:
    loaded = load(ConvNetForImageClassification(ConvNetConfig(num_labels=4)))
    assert loaded.processor is not None
    assert loaded.num_classes == 4


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: m.requires_grad_(False), "nothing can be unlearned"),
        (lambda m: m.to("meta"), "weights without values"),
    ],
)
def test_models_that_cannot_be_trained(spoil: object, message: str) -> None:
    net = nn.Linear(2, 2)
    spoil(net)  # pyright: ignore[reportCallIssue]
    with pytest.raises(InputError, match=message):
        load(net)


def test_integer_weights_are_refused() -> None:
    net = nn.Linear(2, 2)
    net.weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.int8), requires_grad=False)
    with pytest.raises(InputError, match=r"torch\.int8"):
        load(net)
