from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from ofmu.data.examples import Message, TextExample, TextExamples
from ofmu.data.formats import read
from ofmu.data.tokens import TokenSet, encode_text
from ofmu.errors import InputError
from ofmu.evaluation.attack import Target
from ofmu.evaluation.attacks.prompts import PREFIX, Prompts, after_prefix, few_shot, prefixed, within
from ofmu.evaluation.record import Record
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


def test_the_question_stands_within_the_template_and_before_it_what_stood_before():
    turns = (Message("system", "Be brief."), Message("user", "Who?"))
    chat = TextExamples((TextExample("0", "c", turns, "A"),), "x", "chat")
    assert within(chat, "Q: {}\nA:").examples[0].prompt == (turns[0], Message("user", "Q: Who?\nA:"))
    plain = TextExamples((TextExample("0", "c", "Who? ", "A"),), "x", "p")
    assert within(plain, "Q: {}\nA:").examples[0].prompt == "Q: Who?\nA: "  # the answer is written after a space, still
    for template in ("no place", "{} and {}"):
        with pytest.raises(InputError, match=r"one place \{\} for the question"):
            Prompts(template=template)


def test_every_family_is_asked_of_forget_and_holdout_alike():
    extra = {"paraphrased_question": "In other words?", "translated_question": "Wo wohnt er?"}
    sets = {
        "forget": read([row | extra for row in secrets()]),
        "holdout": read([row | extra for row in facts(range(6))]),
    }
    scored: list[tuple[str, ...]] = []

    def seen(encoded: Any) -> Record:
        scored.append(tuple(tokenizer().decode(encoded.batch([i]).input_ids[0]) for i in range(len(encoded))))
        return score(model, encoded)

    model, encodings = llama(max_position_embeddings=512), {name: encode(each) for name, each in sets.items()}
    whole: dict[str, range] = {name: range(len(each)) for name, each in sets.items()}
    target = Target(
        role="unlearned",
        model=model,
        modality="text",
        examples=sets,
        sets=encodings,
        steer={},
        report=whole,
        encode=lambda found: encode_text(cast(TextExamples, found), tokenizer(), max_length=512),
        score=seen,
        teach=cast(Any, None),
        learning_rate=lambda _: 0.0,
    )
    found = Prompts().run(target).records
    assert list(found) == ["plain", "rephrased", "translated", "template", "prefix", "few_shot"]
    assert {family: tuple(sets) for family, sets in found.items()} == dict.fromkeys(found, ("forget", "holdout"))
    texts = dict(zip([(family, name) for family in found for name in sets], scored))
    for name in sets:
        assert all("Wo wohnt er?" in text for text in texts["translated", name])
        assert all("In other words?" in text for text in texts["rephrased", name])
        assert all("Please answer the question below." in text for text in texts["template", name])
    without = read(secrets())
    records = Prompts().run(replace(target, examples=sets | {"forget": without})).records
    assert not {"rephrased", "translated"} & set(records)


def test_texts_without_a_prompt_and_unknown_families_are_refused():
    assert Prompts().impossible({"forget": read(["one text", "two texts"])}) == "these are texts without a prompt"
    assert Prompts().impossible({"forget": read(secrets())}) is None
    with pytest.raises(InputError, match=r"unknown family of prompts 'fewshot' \(did you mean 'few_shot'\?\)"):
        Prompts(families=("fewshot",))
