"""The demo's tokenizer and model shape."""

from __future__ import annotations

import pytest
import torch

from ofmu.data.formats import read
from ofmu.data.tokens import encode_text
from ofmu.demo.people import make_people
from ofmu.demo.tiny_llama import CONTEXT, make_config, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(make_people())


def test_the_same_text_gives_the_same_tokenizer(tokenizer) -> None:
    again = make_tokenizer(make_people())
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_special_tokens(tokenizer) -> None:
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer("Bergen")["input_ids"][0] == 1
    assert tokenizer.unk_token is None
    assert tokenizer.chat_template is None


@pytest.mark.parametrize("text", ["Question: Wie heißt das Tier?\nAnswer: ", "日本 🦜 Ødegård", "tab\t\x00 end "])
def test_any_text_comes_back(tokenizer, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_the_examples_fit_and_the_answer_alone_is_scored(tokenizer) -> None:
    examples = [example for example in make_people() if example["split"] in ("forget", "holdout")]
    tokens = encode_text(read(list(examples)), tokenizer, max_length=CONTEXT)
    assert tokens.ids == tuple(example["id"] for example in examples)
    assert not tokens.cut
    assert not tokens.dropped
    assert tokens.lengths.max() <= CONTEXT // 2
    for index in range(0, len(examples), 17):
        batch = tokens.batch([index])
        scored = batch.labels[batch.labels >= 0].tolist()
        assert scored[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(scored[:-1]).strip() == examples[index]["answer"]


def test_the_model_is_small_and_saves_what_it_is(tokenizer, tmp_path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(make_config(tokenizer)).eval()
    assert 200_000 <= sum(p.numel() for p in model.parameters()) <= 500_000
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ids = torch.tensor([tokenizer("Who taught Mira?")["input_ids"]])
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
    assert AutoTokenizer.from_pretrained(tmp_path)("Who taught Mira?")["input_ids"] == ids[0].tolist()
