from __future__ import annotations

import numpy as np
import pytest
import torch

from ofmu.data.formats import read
from ofmu.errors import InputError
from ofmu.evaluation.choices import choice_prompt, score_choices, solved
from ofmu.evaluation.multiple_choice import multiple_choice, permutation_accuracy
from toys import llama, tokenizer

ROWS = [
    {"question": f" How many are {n} and 1? ", "subject": "easy_sums", "choices": list("1234"), "answer": n % 4}
    for n in range(5)
]


def joined_tokenizer():
    """As the toy, but " A" … " D" are one token each."""
    from tokenizers import AddedToken

    made = type(tokenizer())(
        tokenizer_object=tokenizer().backend_tokenizer.from_str(tokenizer().backend_tokenizer.to_str()),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
    )
    made.add_tokens([AddedToken(f" {letter}", normalized=False) for letter in "ABCD"])
    return made


def slowly(model, tokens, prompt: str, letter: str) -> float:
    """Σ log p of a continuation, one token at a time."""
    before = tokens(prompt)["input_ids"]
    whole = tokens(f"{prompt} {letter}")["input_ids"]
    start = next((i for i, (a, b) in enumerate(zip(before, whole)) if a != b), len(before))
    with torch.no_grad():
        log_p = model(input_ids=torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return sum(float(log_p[i - 1, whole[i]]) for i in range(start, len(whole)))


@pytest.mark.parametrize("tokens", [tokenizer(), joined_tokenizer()], ids=["two tokens", "one token"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_log_likelihoods_are_those_of_the_slow_way(tokens, batch_size):
    model = llama(seed=2, vocab_size=len(tokens), max_position_embeddings=256)
    found = score_choices(model, read(ROWS), tokens, max_length=256, batch_size=batch_size)
    for row, given in zip(ROWS, found.log_p):
        prompt = choice_prompt(row["question"], row["choices"], row["subject"])
        assert given == pytest.approx([slowly(model, tokens, prompt, letter) for letter in "ABCD"], abs=1e-4)
    assert found.gold.tolist() == [0, 1, 2, 3, 0]
    assert found.subjects == ("easy_sums",) * 5
    assert multiple_choice(found.log_p, found.gold).letter_balance.sum() == pytest.approx(1)


def test_the_prompt_is_the_public_one_and_shots_are_of_the_same_subject():
    prompt = choice_prompt(" Why? ", ["w", "x", "y", "z"], "world_religions")
    assert prompt == (
        "The following are multiple choice questions (with answers) about world religions.\n\n"
        "Why?\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    )
    shot = read(ROWS).examples[2]
    assert solved(shot) == "How many are 2 and 1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: C"
    assert choice_prompt("Why?", ["w"], None, [solved(shot)]).count("Answer:") == 2


def test_letters_after_shifts_tell_a_model_that_likes_one_letter():
    tokens = joined_tokenizer()
    model = llama(seed=2, vocab_size=len(tokens), max_position_embeddings=256, tie_word_embeddings=False)
    with torch.no_grad():
        model.lm_head.weight[tokens.convert_tokens_to_ids(" B")] = 0
        model.lm_head.weight[[tokens.convert_tokens_to_ids(f" {letter}") for letter in "ACD"]] *= 0
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(tokens)))
        model.lm_head.bias[tokens.convert_tokens_to_ids(" B")] = 5
    found = [score_choices(model, read(ROWS), tokens, max_length=256, shift=shift) for shift in range(4)]
    accuracy = permutation_accuracy(np.stack([each.log_p for each in found]), found[0].gold)
    assert accuracy.tolist() == [0.25] * 5


def test_shots_change_the_prompt_only():
    model = llama(seed=2, max_position_embeddings=512)
    bare = score_choices(model, read(ROWS), tokenizer(), max_length=512)
    shown = score_choices(model, read(ROWS), tokenizer(), max_length=512, shots=read(ROWS[:1]).examples)
    assert shown.ids == bare.ids
    assert not np.allclose(shown.log_p, bare.log_p)


def test_files_of_the_public_layout_are_read(data_dir):
    questions = read(data_dir / "formats" / "mmlu-sample" / "test.jsonl").take(range(3))
    shots = read(data_dir / "formats" / "mmlu-sample" / "dev.jsonl").examples
    model = llama(seed=2)
    found = score_choices(model, questions, tokenizer(), max_length=96, shots=shots)
    assert found.log_p.shape == (3, 4)
    assert found.subjects == ("astronomy",) * 3


def test_errors_say_what_is_wrong():
    model = llama()
    with pytest.raises(InputError, match="no multiple choice"):
        score_choices(model, read([{"question": "a", "answer": "b"}]), tokenizer(), max_length=96)
    odd = [*ROWS, {"question": "x", "choices": ["1", "2"], "answer": 0}]
    with pytest.raises(InputError, match="with 2 and with 4 choices"):
        score_choices(model, read(odd), tokenizer(), max_length=96)
