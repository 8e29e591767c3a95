"""Trees of texts give what padded batches give, on every model that takes them; others never see one."""

from __future__ import annotations

import copy
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


def grouped() -> Any:
    return llama(num_attention_heads=4, num_key_value_heads=2)


def plainly(monkeypatch: pytest.MonkeyPatch, model: Any, forms: dict[str, TokenSet]) -> dict[str, Record]:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_can_be_told", lambda *_: False)
        return score_sets(model, forms, batch_size=4)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("make", [llama, gpt2, grouped])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_trees_give_what_plain_batches_give(monkeypatch, forms, make, attention, batch_size):
    model = make()
    model.set_attn_implementation(attention)
    assert module._can_be_told(model, CPU)
    expected = plainly(monkeypatch, model, forms)
    read_tokens = []
    handle = model.register_forward_pre_hook(
        lambda _, __, given: read_tokens.append(given["input_ids"].numel()), with_kwargs=True
    )
    found = score_sets(model, forms, batch_size=batch_size)
    handle.remove()
    checked = sum(read_tokens[:2])  # two texts both ways
    assert sum(read_tokens) - checked < 0.6 * sum(int(each.lengths.sum()) for each in forms.values())
    assert model.config._attn_implementation == attention
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
    """Its layers look up their attention elsewhere, and every token goes on to see all before it."""
    model = llama()
    expected = plainly(monkeypatch, model, forms)
    for layer in model.model.layers:
        layer.self_attn.config = copy.deepcopy(layer.self_attn.config)
    found = score_sets(model, forms, batch_size=4)
    for name, record in found.items():
        assert np.array_equal(record.columns["nll"], expected[name].columns["nll"])


def test_the_two_texts_of_the_check_part():
    rows = [
        {"question": "Who?", "answer": answer} for answer in ("Nobody", "Nobody", "Nobody else", "A man of letters")
    ]
    examples: Any = read(rows)
    encoded = encode_text(examples, tokenizer(), max_length=96)
    assert module._parting(encoded, np.arange(4)).tolist() == [0, 3]  # its end is no node: "Nobody else" goes on
    assert module._parting(encoded, np.arange(3)).tolist() == [0, 1]
    assert module._parting(encoded, np.array([3])).tolist() == [3]


def test_long_texts_are_read_in_plain_batches(monkeypatch, forms):
    model = llama()
    expected = plainly(monkeypatch, model, forms)
    monkeypatch.setattr(module, "LONGEST", 50)  # some are longer, some are not
    shapes = []
    model.register_forward_pre_hook(
        lambda _, __, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    found = score_sets(model, forms, batch_size=4)
    assert min(width for rows, width in shapes if rows == 4) > 50
    assert sum(rows == 1 for rows, _ in shapes) > 1  # trees
    for name, record in found.items():
        assert np.abs(record.columns["nll"] - expected[name].columns["nll"]).max() < 1e-5


def test_the_attention_comes_back_after_an_exception():
    from ofmu.evaluation.branches import Branches, attending
    from ofmu.evaluation.prefix_trees import trees

    model = llama()
    (tree,) = trees([np.array([1, 5, 6])], most=1)
    names = []

    def interrupted() -> None:
        with attending(model, Branches.of(tree, CPU)):
            names.append(model.config._attn_implementation)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (*names, model.config._attn_implementation) == ("ofmu_branches", "sdpa")


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
