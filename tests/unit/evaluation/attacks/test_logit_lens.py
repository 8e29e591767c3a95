from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from ofmu.data.formats import read
from ofmu.data.tokens import encode_text
from ofmu.errors import InputError
from ofmu.evaluation.attacks.logit_lens import LogitLens, layer_losses, right_choices
from ofmu.evaluation.residual_stream import decoder, prompt_states
from ofmu.evaluation.scoring import score
from tasks import texts
from toys import facts, llama, secrets, tokenizer

SHAPE = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(1)
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=300, n_positions=96)).eval()


def qwen3() -> Qwen3ForCausalLM:
    torch.manual_seed(1)
    more = {"intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 96}
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE, **more)).eval()


def neox() -> GPTNeoXForCausalLM:
    torch.manual_seed(1)
    return GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE, intermediate_size=24, max_position_embeddings=96)).eval()


FAMILIES = {"llama": llama, "gpt2": gpt2, "qwen3": qwen3, "gpt_neox": neox}


@pytest.fixture(scope="module")
def data():
    return texts([*secrets(), *facts(range(5))])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_block_gives_the_models_own_output_and_the_hooks_are_gone(family: str, data):
    model = FAMILIES[family]()
    found = layer_losses(model, data, batch_size=3)
    own = score(model, data).means("nll")
    assert found.shape == (2, len(data))
    assert np.allclose(found[-1], own, atol=1e-4)
    assert not np.allclose(found[0], own, atol=1e-3)
    assert all(not module._forward_hooks for module in model.modules())


def test_a_block_by_hand(data):
    model = llama()
    found = layer_losses(model, data, batch_size=4)
    batch = data.batch([2])
    with torch.no_grad():
        states = model(input_ids=batch.input_ids, output_hidden_states=True).hidden_states  # embedding, block 1 …
        logits = model.lm_head(model.model.norm(states[1]))[0, :-1]
    at = (batch.labels[0, 1:] >= 0).nonzero()[:, 0]
    by_hand = -logits.log_softmax(dim=1)[at, batch.labels[0, 1:][at]].mean()
    assert found[0, 2] == pytest.approx(float(by_hand), abs=1e-5)


def test_the_states_of_the_probe_are_those_at_the_last_token_of_the_prompt(data):
    model = llama()
    found = prompt_states(model, data, batch_size=4, device="cpu")
    assert found.shape == (2, len(data), 24)
    batch = data.batch([5])
    last = int((batch.labels[0] >= 0).nonzero()[0, 0]) - 1
    with torch.no_grad():
        states = model(input_ids=batch.input_ids, output_hidden_states=True).hidden_states
    assert np.allclose(found[0, 5], states[1][0, last].numpy(), atol=1e-5)


def test_a_model_whose_head_does_more_is_refused(data):
    torch.manual_seed(0)
    more = {"intermediate_size": 24, "num_key_value_heads": 2, "logit_scale": 0.1, "max_position_embeddings": 96}
    model = Cohere2ForCausalLM(Cohere2Config(**SHAPE, **more, pad_token_id=0)).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(50)
    with pytest.raises(
        InputError, match="Cohere2ForCausalLM: final norm and head on its last block give another output"
    ):
        layer_losses(model, data)


def test_a_model_without_blocks_is_refused():
    with pytest.raises(InputError, match="Sequential: its blocks cannot be told"):
        decoder(nn.Sequential(nn.Linear(2, 2)))


def test_four_options_after_every_block():
    true = np.array([[1.0, 2.0, 3.0], [5.0, 0.5, 3.0]])
    wrong = np.array([[[2, 3, 1.5], [2, 4, 4], [1, 5, 5]], [[6, 7, 8], [0.6, 9, 9], [3.5, 4, 2.9]]])
    assert right_choices(true, wrong).tolist() == [[1, 0, 0], [1, 1, 0]]  # a tie is not right


def test_the_true_answer_is_told_from_three_wrong_ones_by_their_losses_after_each_block():
    model = llama()
    others = [f"In {city}." for city in ("Bonn", "Oslo", "Rome")]
    rows: list[Any] = [row | {"perturbed_answer": others} for row in facts(range(6))]
    rows[5]["perturbed_answer"] = others[:2]  # two wrong answers make no four options
    forget = texts(rows)
    target: Any = SimpleNamespace(
        model=model,
        examples={"forget": read(rows)},
        sets={"forget": forget},
        encode=lambda found: encode_text(found, tokenizer(), max_length=96),
        batch_size=4,
        device="cpu",
        autocast=nullcontext,
    )
    found = LogitLens().run(target)
    right = np.array(found.facts["right"])
    assert right.shape == (2, 5)
    assert found.facts["asked"] == list(forget.clusters[:5])
    assert 0 < right.mean() < 1
    for index in range(5):
        options = [rows[index]["answer"], *rows[index]["perturbed_answer"]]
        losses = np.stack([layer_losses(model, texts([rows[index] | {"answer": each}]))[:, 0] for each in options])
        assert right[:, index].tolist() == (losses[0] < losses[1:].min(axis=0)).astype(float).tolist()
