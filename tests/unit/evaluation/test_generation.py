from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GenerationConfig, GPT2Config, GPT2LMHeadModel

from ofmu.data.formats import read
from ofmu.data.prompts import Prompts, encode_prompts
from ofmu.errors import InputError
from ofmu.evaluation.generation import Sampling, generate
from toys import facts, llama, tokenizer


@pytest.fixture(scope="module")
def model():
    made = llama(seed=3, eos_token_id=None, tie_word_embeddings=False, max_position_embeddings=128).eval()
    with torch.no_grad():
        made.lm_head.weight.mul_(8)
    return made


@pytest.fixture(scope="module")
def prompts(model) -> Prompts:
    """Of all tokens that the model says, the one that ends the answers at the most different places is the end."""
    rows = [row | {"question": row["question"] + " Say." * (n % 4)} for n, row in enumerate(facts(range(9)))]
    made = replace(encode_prompts(read(rows), tokenizer(), max_length=60), ends=())
    free = [said for said, _ in one_by_one(model, made, 30)]

    def places(token: int) -> int:
        found = [said.index(token) for said in free if token in said]
        return len(set(found)) * (len(found) < len(free)) * (max(found) > 20)

    return replace(made, ends=(max({token for said in free for token in said}, key=places),))


def one_by_one(model, prompts: Prompts, limit: int) -> list[tuple[list[int], bool]]:
    """The slow way: no cache, no batch, no library."""
    answers = []
    for prompt in prompts.tokens:
        ids = torch.tensor(prompt)[None]
        said: list[int] = []
        ended = False
        while len(said) < limit and not ended:
            with torch.no_grad():
                token = int(model(input_ids=ids).logits[0, -1].argmax())
            ended = token in prompts.ends
            said += [] if ended else [token]
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
        answers.append((said, ended))
    return answers


@pytest.fixture(scope="module")
def expected(model, prompts) -> list[tuple[list[int], bool]]:
    return one_by_one(model, prompts, 30)


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_greedy_answers_are_those_of_one_by_one_at_any_batch_size(model, prompts, expected, batch_size):
    said = generate(model, prompts, max_new_tokens=30, batch_size=batch_size)
    assert {ended for _, ended in expected} == {True, False}  # both kinds are there
    assert len({len(answer) for answer, _ in expected}) > 3
    assert [answers[0].tolist() for answers in said.tokens] == [answer for answer, _ in expected]
    assert said.cut[:, 0].tolist() == [not ended for _, ended in expected]
    assert said.ids == prompts.ids
    assert not said.broken.any()


def test_learned_positions_stop_at_the_end_of_the_context(prompts):
    torch.manual_seed(1)
    size = max(len(tokens) for tokens in prompts.tokens) + 5
    config = GPT2Config(
        vocab_size=300, n_positions=size, n_embd=16, n_layer=1, n_head=2, bos_token_id=None, eos_token_id=None
    )
    model = GPT2LMHeadModel(config).eval()
    said = generate(model, prompts, max_new_tokens=20, batch_size=4)
    limits = [min(20, size - len(tokens)) for tokens in prompts.tokens]
    assert len(set(limits)) > 1
    for answers, cut, limit, prompt in zip(said.tokens, said.cut[:, 0], limits, prompts.tokens):
        assert len(answers[0]) == limit if cut else len(answers[0]) < limit
        alone = one_by_one(model, Prompts(("x",), ("x",), (prompt,), np.array([1]), prompts.ends), limit)[0]
        assert answers[0].tolist() == alone[0]


def test_neither_random_state_nor_modes_nor_settings_change(model, prompts):
    model.model.train()
    model.generation_config = GenerationConfig(do_sample=True, temperature=0.1, repetition_penalty=9.0, min_length=30)
    before = torch.get_rng_state(), model.generation_config, np.random.get_state()[1].copy()
    said = generate(model, prompts, max_new_tokens=10, sample=Sampling(n=2))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[2])
    assert model.generation_config is before[1]
    assert (model.training, model.model.training, model.model.layers[0].training) == (False, True, True)
    model.eval()
    model.generation_config = GenerationConfig()
    again = generate(model, prompts, max_new_tokens=10, sample=Sampling(n=2))
    assert _lists(said) == _lists(again)


def test_samples_depend_on_seed_and_number_but_not_on_the_batch(model, prompts):
    drawn = generate(model, prompts, max_new_tokens=12, batch_size=5, sample=Sampling(seed=7, n=3))
    other = generate(model, prompts, max_new_tokens=12, batch_size=64, sample=Sampling(seed=7, n=3))
    assert _lists(drawn) == _lists(other)
    assert drawn.cut.shape == (len(prompts), 3)
    assert _lists(drawn) != _lists(generate(model, prompts, max_new_tokens=12, sample=Sampling(seed=8, n=3)))
    assert len({tuple(answer) for answers in _lists(drawn) for answer in answers}) > len(prompts)


def test_drawn_tokens_have_the_models_distribution():
    model = llama(seed=5).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    prompt = np.array([5, 9, 12])
    one = Prompts(("q",), ("q",), (prompt,), np.array([1]), (2,))
    drawn = generate(model, one, max_new_tokens=1, batch_size=4000, sample=Sampling(seed=1, temperature=1.5, n=4000))
    first = [int(answer[0]) if len(answer) else 2 for answer in drawn.tokens[0]]
    with torch.no_grad():
        p = (model(input_ids=torch.tensor(prompt)[None]).logits[0, -1].double() / 1.5).softmax(0).numpy()
    share = np.bincount(first, minlength=len(p)) / 4000
    assert np.abs(share - p).max() < 5 * np.sqrt(p.max() / 4000)
    nucleus = generate(model, one, max_new_tokens=1, batch_size=4000, sample=Sampling(seed=1, top_p=0.5, n=1000))
    with torch.no_grad():
        q = model(input_ids=torch.tensor(prompt)[None]).logits[0, -1].double().softmax(0).numpy()
    allowed = np.argsort(-q)[: int(np.searchsorted(np.cumsum(np.sort(q)[::-1]), 0.5)) + 1]
    assert {int(answer[0]) if len(answer) else 2 for answer in nucleus.tokens[0]} == set(allowed.tolist())


def test_a_model_of_nan_is_told():
    model = llama(seed=5).eval()
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    one = Prompts(("q",), ("q",), (np.array([5, 9]),), np.array([1]), (2,))
    assert generate(model, one, max_new_tokens=3).broken.all()


def test_errors_say_what_is_wrong(model, prompts):
    with pytest.raises(InputError, match="cannot generate"):
        generate(torch.nn.Linear(2, 2), prompts)
    with pytest.raises(InputError, match="max_new_tokens is 0"):
        generate(model, prompts, max_new_tokens=0)
    with pytest.raises(InputError, match="leaves no room"):
        generate(llama(max_position_embeddings=8), prompts)
    for wrong in ({"temperature": 0.0}, {"top_p": 0.0}, {"n": 0}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} is 0"):
            Sampling(**wrong)


def test_texts_come_without_special_tokens(model, prompts):
    said = generate(model, prompts, max_new_tokens=5)
    texts = said.texts(tokenizer())
    assert [len(row) for row in texts] == [1] * len(prompts)
    assert texts[0][0] == tokenizer().decode(said.tokens[0][0], skip_special_tokens=True)


def _lists(said) -> list[list[list[int]]]:
    return [[answer.tolist() for answer in answers] for answers in said.tokens]


def test_a_cache_that_cannot_take_in_rows_serves_batch_after_batch():
    torch.manual_seed(2)
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            sliding_window=6,
            attn_implementation="eager",
            initializer_range=0.5,
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    tokens = tuple(np.arange(3, 3 + length) for length in (4, 9, 12, 5, 7))
    names = tuple("abcde")
    asked = Prompts(names, names, tokens, np.array([3, 9, 1, 4, 2]), ends=())
    free = [said for said, _ in one_by_one(model, asked, 20)]
    asked = replace(asked, ends=(free[1][10],))
    expected = [said for said, _ in one_by_one(model, asked, 20)]
    assert len({len(said) for said in expected}) > 1
    said = generate(model, asked, max_new_tokens=20, batch_size=2)
    assert [answers[0].tolist() for answers in said.tokens] == expected
