"""Trees of texts give what padded batches give, on every model that takes them; others never see one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ofmu.data.formats import read
from ofmu.data.tokens import TokenSet, encode_text
from ofmu.data.views import views
from ofmu.evaluation import text_passes as module
from ofmu.evaluation.record import Record
from ofmu.evaluation.scoring import score_sets
from toys import CITIES, llama, tokenizer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def forms() -> dict[str, TokenSet]:
    rows = [
        {
            "question": f"Where does clerk {n} live?" + " Say it." * (n % 3),
            "answer": f"In {CITIES[n]}" + " now" * (n % 4),
            "paraphrased_answer": f"In {CITIES[n]} by the sea",
            "perturbed_answer": [f"In {CITIES[n - k]}" + " by the river" * (k % 2) for k in range(1, 4)],
        }
        for n in range(7)
    ]
    examples: Any = read(rows, name="forget")
    every = {"own": examples, **views(examples)}
    return {name: encode_text(each, tokenizer(), max_length=96) for name, each in every.items()}


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=300, n_positions=96, n_embd=24, n_layer=2, n_head=2, initializer_range=0.2)
    ).eval()


def plainly(monkeypatch: pytest.MonkeyPatch, model: Any, forms: dict[str, TokenSet]) -> dict[str, Record]:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_can_be_told", lambda *_: False)
        return score_sets(model, forms, batch_size=4)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_trees_give_what_plain_batches_give(monkeypatch, forms, make, attention, batch_size):
    model = make()
    model.set_attn_implementation(attention)
    assert module._can_be_told(model, CPU)
    expected = plainly(monkeypatch, model, forms)
    read_tokens = []
    handle = model.register_forward_pre_hook(
        lambda _, __, given: read_tokens.append(int((given["input_ids"] != 0).sum())), with_kwargs=True
    )
    found = score_sets(model, forms, batch_size=batch_size)
    handle.remove()
    checked = sum(read_tokens[:2])  # one tree both ways
    assert sum(read_tokens) - checked < 0.6 * sum(int(each.lengths.sum()) for each in forms.values())
    assert found.keys() == expected.keys()
    for name, record in found.items():
        other = expected[name]
        assert record.ids == other.ids
        assert record.classes == other.classes
        for column in ("position", "correct", "content"):
            assert np.array_equal(record.columns[column], other.columns[column]), column
        assert np.array_equal(record.example, other.example)
        assert np.abs(record.columns["nll"] - other.columns["nll"]).max() < 1e-5
        assert np.abs(record.columns["z"] - other.columns["z"]).max() < 1e-3


def test_a_model_that_minds_not_what_it_is_told_is_found_out(monkeypatch, forms):
    """It takes mask and positions and goes on as if every token saw all before it."""
    model = llama()
    expected = plainly(monkeypatch, model, forms)
    inner = model.model.forward

    def deaf(*args: Any, attention_mask: Any = None, position_ids: Any = None, **given: Any) -> Any:
        tree = attention_mask is not None and attention_mask.dim() == 4
        return inner(*args, **given, **({} if tree else {"attention_mask": attention_mask}))

    monkeypatch.setattr(model.model, "forward", deaf)
    found = score_sets(model, forms, batch_size=4)
    for name, record in found.items():
        assert np.array_equal(record.columns["nll"], expected[name].columns["nll"])


def test_models_whose_tokens_do_not_see_everything_before_them_get_no_trees():
    from transformers import MistralConfig, MistralForCausalLM

    windowed = MistralForCausalLM(
        MistralConfig(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            sliding_window=4,
        )
    )
    assert not module._can_be_told(windowed, CPU)
    assert not module._can_be_told(llama().to(torch.bfloat16), CPU)
    assert not module._can_be_told(torch.nn.Linear(1, 1), CPU)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not module._can_be_told(llama(), CPU)
