from __future__ import annotations

import numpy as np
import pytest

from ofmu.data.formats import read
from ofmu.data.prompts import encode_prompts, prompt_room
from ofmu.data.tokens import encode_text
from ofmu.errors import InputError
from toys import facts, tokenizer


def test_a_prompt_is_what_scoring_shows_before_the_answer():
    examples = read(facts(range(8)))
    prompts = encode_prompts(examples, tokenizer(), max_length=200)
    encoded = encode_text(examples, tokenizer(), max_length=200)
    for index, tokens in enumerate(prompts.tokens):
        batch = encoded.batch([index])
        first = int((batch.labels[0] >= 0).nonzero()[0, 0])
        shown = batch.input_ids[0, :first].tolist()
        space = tokenizer().convert_tokens_to_ids("Ġ")
        while shown[-1] == space:
            shown.pop()
        assert tokens.tolist() == shown
        assert prompts.expected[index] == encoded.lengths[index] - len(shown)
        assert tokenizer().decode(tokens).endswith("\nAnswer:")
    assert prompts.ids == examples.ids
    assert prompts.ends == (tokenizer().eos_token_id,)


def test_a_space_that_is_a_token_is_left_to_the_answer():
    examples = read([{"prompt": "Answer: ", "completion": "7"}])
    prompts = encode_prompts(examples, tokenizer(), max_length=50)
    assert tokenizer().decode(prompts.tokens[0]) == "Answer:"


def test_of_a_long_prompt_the_end_is_kept_and_the_example_listed():
    examples = read(facts(range(3)))
    whole = encode_prompts(examples, tokenizer(), max_length=200)
    short = encode_prompts(examples, tokenizer(), max_length=7)
    assert whole.cut == ()
    assert short.cut == examples.ids
    for long, cut in zip(whole.tokens, short.tokens):
        assert cut.tolist() == long[-7:].tolist()


def test_batches_are_padded_on_the_left_and_masked_by_length():
    prompts = encode_prompts(read(facts([1, 1234567])), tokenizer(), max_length=200)
    ids, mask = prompts.batch([1, 0])
    for row, index in enumerate([1, 0]):
        tokens = prompts.tokens[index]
        assert ids[row, -len(tokens) :].tolist() == tokens.tolist()
        assert mask[row].tolist() == [0] * (ids.shape[1] - len(tokens)) + [1] * len(tokens)


@pytest.mark.parametrize("rows", [[{"text": "no prompt at all"}], [{"prompt": "", "completion": "x"}]])
def test_without_a_prompt_nothing_can_be_continued(rows):
    with pytest.raises(InputError, match="has no prompt"):
        encode_prompts(read(rows), tokenizer(), max_length=50)


def test_a_prompt_needs_room():
    with pytest.raises(InputError, match="at least 1"):
        encode_prompts(read(facts([1])), tokenizer(), max_length=0)
    assert prompt_room(None, 200) > 10**6


def test_tofu_mini_prompts_end_with_the_generation_prompt_of_its_chat_template(data_dir):
    from transformers import AutoTokenizer

    mini = AutoTokenizer.from_pretrained(data_dir / "models" / "tofu-mini" / "full")
    examples = read(data_dir / "tofu" / "holdout01.jsonl")
    prompts = encode_prompts(examples, mini, max_length=128)
    for example, tokens in zip(examples.examples, prompts.tokens, strict=True):
        turns = [{"role": "user", "content": example.prompt_text}]
        asked = mini.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        assert tokens.tolist() == mini(asked, add_special_tokens=False)["input_ids"]
    assert prompts.ends == (mini.eos_token_id,)
    assert np.all(prompts.expected > 1)
