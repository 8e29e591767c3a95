"""The head sees the scored positions only, and that changes neither logits nor gradients."""

from __future__ import annotations

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from ofmu.data.formats import read
from ofmu.data.tokens import TextBatch, encode_text
from ofmu.engine.forward import rows
from toys import facts, llama, tokenizer


@pytest.fixture(scope="module")
def batch() -> TextBatch:
    return encode_text(read(facts(range(4))), tokenizer(), max_length=96).batch([3, 0, 2, 1])


def gemma() -> Gemma2ForCausalLM:
    """Caps its logits after the head."""
    config = Gemma2Config(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=0.5,
        attn_implementation="eager",
    )
    return Gemma2ForCausalLM(config)


MODELS = {
    "llama": llama,
    "gemma": gemma,
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=96, n_embd=16, n_layer=1, n_head=2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_are_those_of_the_whole(name, batch):
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    seen: list[torch.Size] = []
    handle = model.get_output_embeddings().register_forward_hook(lambda _, __, out: seen.append(out.shape))
    found = rows(model, batch)
    handle.remove()
    assert seen == [torch.Size([1, len(found.labels), 300])]
    example, position = (batch.labels[:, 1:] >= 0).nonzero(as_tuple=True)
    whole = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[example, position]
    torch.testing.assert_close(found.logits, whole)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(found.nll_sums().sum(), parameters)
    own = whole.log_softmax(1).gather(1, found.labels[:, None])
    for mine, theirs in zip(ours, torch.autograd.grad(-own.sum(), parameters)):
        torch.testing.assert_close(mine, theirs)
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_the_hook_goes_when_the_model_fails(batch):
    model = llama()

    def fail(*_):
        raise MemoryError("boom")

    handle = model.model.norm.register_forward_hook(fail)
    with pytest.raises(MemoryError, match="boom"):
        rows(model, batch)
    handle.remove()
    assert not model.lm_head._forward_pre_hooks
