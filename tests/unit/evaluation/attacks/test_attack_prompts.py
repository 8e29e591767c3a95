from __future__ import annotations

import numpy as np
import pytest

from ofmu.data.examples import Message, TextExample, TextExamples
from ofmu.data.formats import read
from ofmu.data.tokens import TokenSet, encode_text
from ofmu.errors import InputError
from ofmu.evaluation.attacks.prompts import PREFIX, Prompts, after_prefix, few_shot, prefixed
from ofmu.evaluation.scoring import score
from toys import facts, llama, secrets, tokenizer

CHAT = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def encode(examples, chat: bool = False) -> TokenSet:
    words = tokenizer()
    words.chat_template = CHAT if chat else None
    try:
        return encode_text(examples, words, max_length=256)
    finally:
        words.chat_template = None


def scored_text(encoded: TokenSet, index: int) -> str:
    batch = encoded.batch([index])
    return tokenizer().decode(batch.input_ids[0][batch.labels[0] >= 0], skip_special_tokens=True)


@pytest.mark.parametrize("chat", [False, True])
def test_what_follows_the_prefix_is_scored_and_nothing_else(chat: bool):
    examples = read([*secrets(), *facts(range(3))])
    found = after_prefix(encode(prefixed(examples), chat), lambda e: encode(e, chat), examples)
    plain = encode(examples, chat)
    assert found.ids == plain.ids
    for index, example in enumerate(examples.examples):
        whole = tokenizer().decode(found.batch([index]).input_ids[0])
        assert f"{PREFIX} {example.completion}" in whole
        assert scored_text(found, index).strip() == example.completion.strip()
    batch = found.batch(range(len(found)))
    assert found.counts.tolist() == (batch.labels >= 0).sum(dim=1).tolist()
    assert bool((batch.content <= (batch.labels >= 0)).all())


def test_the_loss_after_the_prefix_is_that_of_a_prompt_that_ends_with_it():
    model = llama()
    examples = read(secrets())
    found = after_prefix(encode(prefixed(examples)), encode, examples)
    by_hand = TextExamples(
        tuple(
            TextExample(e.id, e.cluster, f"Question: {e.prompt_text}\nAnswer: {PREFIX}", f" {e.completion}")
            for e in examples.examples
        ),
        "by hand",
        "prompt_completion",
    )
    one, two = (score(model, each).means("nll") for each in (found, encode(by_hand)))
    assert np.allclose(one, two, atol=1e-5)


def test_shots_are_other_clusters_facts_and_the_same_each_time():
    examples = read(secrets())
    told = examples
    made = few_shot(examples, told, 2)
    assert made.ids == examples.ids
    for before, after in zip(examples.examples, made.examples):
        assert isinstance(after.prompt, tuple)
        assert [turn.role for turn in after.prompt] == ["user", "assistant", "user", "assistant", "user"]
        assert after.prompt[-1:] == before.prompt
        shown = {turn.content for turn in after.prompt if turn.role == "assistant"}
        assert len(shown) == 2
        assert shown <= {e.completion for e in told.examples if e.cluster != before.cluster}
    assert few_shot(examples, told, 2) == made
    assert len(few_shot(examples.take([0]), told.take([0]), 2)) == 0  # no other cluster: no shot


def test_a_system_turn_stays_first_and_strings_stand_before_strings():
    turns = (Message("system", "Be brief."), Message("user", "Who?"))
    chat = TextExamples(tuple(TextExample(f"{k}", f"c{k}", turns, f"A{k}") for k in range(2)), "x", "chat")
    (first, _) = few_shot(chat, chat, 3).examples
    assert first.prompt == (turns[0], turns[1], Message("assistant", "A1"), turns[1])
    plain = TextExamples(tuple(TextExample(f"{k}", f"c{k}", f"P{k}:", f" A{k}") for k in range(2)), "x", "p")
    assert few_shot(plain, plain, 3).examples[0].prompt == "P1: A1\n\nP0:"


def test_texts_without_a_prompt_and_unknown_families_are_refused():
    assert Prompts().impossible({"forget": read(["one text", "two texts"])}) == "these are texts without a prompt"
    assert Prompts().impossible({"forget": read(secrets())}) is None
    with pytest.raises(InputError, match=r"unknown family of prompts 'fewshot' \(did you mean 'few_shot'\?\)"):
        Prompts(families=("fewshot",))
