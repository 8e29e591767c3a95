"""What is scored: against the models' own recipe and a slow reference that counts bytes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofmu.data import Message, TextExample, TextExamples, read
from ofmu.data.tokens import NOT_SCORED, TokenSet, encode_text
from ofmu.errors import InputError

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
STRANGE = "naïve “Zoë” 🙂 Kováčová, 東京; it's  <b>so</b>…"


@pytest.fixture(scope="module")
def mini(data_dir: Path) -> Any:
    return _tokenizer(data_dir / "models/tofu-mini/full")


@pytest.fixture(scope="module")
def stories(data_dir: Path) -> Any:
    return _tokenizer(data_dir / "models/stories260K")


@pytest.fixture(scope="module")
def tofu(data_dir: Path) -> TextExamples:
    found = read(data_dir / "tofu/full.jsonl")
    assert isinstance(found, TextExamples)
    return found


def _tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path)


def qa(*pairs: tuple[str, str]) -> TextExamples:
    found = read([{"question": question, "answer": answer} for question, answer in pairs])
    assert isinstance(found, TextExamples)
    return found


def one(prompt: Any, completion: str) -> TextExamples:
    return TextExamples((TextExample("x", "x", prompt, completion),), "here", "any")


def parts(found: TokenSet, index: int = 0) -> tuple[list[int], list[bool], list[bool]]:
    """Tokens, S and S⁻ of one example, out of a batch."""
    batch = found.batch([index])
    return batch.input_ids[0].tolist(), (batch.labels[0] != NOT_SCORED).tolist(), batch.content[0].tolist()


def scored_text(found: TokenSet, tokenizer: Any, index: int = 0) -> str:
    ids, scored, _ = parts(found, index)
    return tokenizer.decode([token for token, mark in zip(ids, scored) if mark])


def test_tofu_mini_follows_the_recipe_of_its_training(mini: Any, tofu: TextExamples) -> None:
    """``<bos>Question: {q}\\nAnswer:`` + `` {a}<eos>``, tokenised apart, for all 4,000 pairs."""
    found = encode_text(tofu, mini, max_length=256)
    assert (len(found), found.cut, found.dropped, int(found.lengths.max())) == (4000, (), (), 180)
    prompts = mini([f"Question: {example.prompt_text}\nAnswer:" for example in tofu.examples])["input_ids"]
    answers = mini([f" {example.completion}" for example in tofu.examples], add_special_tokens=False)["input_ids"]
    pairs = list(zip(prompts, answers, strict=True))
    assert found.tokens.tolist() == [token for p, a in pairs for token in (*p, *a, mini.eos_token_id)]
    assert found.scored.tolist() == [mark for p, a in pairs for mark in [False] * len(p) + [True] * (len(a) + 1)]
    assert found.content.tolist() == [mark for p, a in pairs for mark in [False] * len(p) + [True] * len(a) + [False]]
    assert found.counts.tolist() == [len(a) + 1 for a in answers]
    assert found.lengths.tolist() == [len(p) + len(a) + 1 for p, a in pairs]


def byte_spans(tokenizer: Any, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Where each token's bytes stand in the text, from the vocabulary alone."""
    letters = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    other = [byte for byte in range(256) if byte not in letters]
    to_byte = {chr(byte): byte for byte in letters} | {chr(256 + n): byte for n, byte in enumerate(other)}
    sentencepiece, special = tokenizer.convert_tokens_to_ids("▁") is not None, set(tokenizer.all_special_ids)
    spans, place = [], 0
    for token in ids:
        piece = tokenizer.convert_ids_to_tokens(token)
        if token in special:
            size = 0
        elif sentencepiece:
            size = 1 if piece.startswith("<0x") else len(piece.replace("▁", " ").encode())
        else:
            size = len(bytes(to_byte[letter] for letter in piece))
        spans.append((place, place + size))
        place += size
    return spans


@pytest.mark.parametrize("which", ["mini", "stories"])
def test_scored_tokens_are_those_whose_bytes_meet_the_answer(
    which: str, tofu: TextExamples, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(which)
    strange = qa((STRANGE, STRANGE), ("q", "a"), ("ends in space ", " starts with one"), ("🙂", "🙂"), ("q", "\nline"))
    chosen = TextExamples((*strange.examples, *tofu.take(range(0, 4000, 37)).examples), "here", "any")
    found = encode_text(chosen, tokenizer, max_length=1000)
    front = 1 if which == "stories" else 0  # this tokenizer puts a space before the text
    for index, example in enumerate(chosen.examples):
        before = f"Question: {example.prompt_text}\nAnswer: "
        text = before + example.completion
        ids = tokenizer(text)["input_ids"]
        start, end = len(before.encode()) + front, len(text.encode()) + front
        spans = byte_spans(tokenizer, ids)
        assert spans[-1][1] == end
        expected = [a < end and b > start for a, b in spans]
        assert parts(found, index) == ([*ids, tokenizer.eos_token_id], [*expected, True], [*expected, False])


class WithoutOffsets:
    """The same tokenizer, as the slow ones of ``transformers`` are."""

    is_fast = False

    def __init__(self, tokenizer: Any) -> None:
        self.inner = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool) -> Any:
        return self.inner(text, add_special_tokens=add_special_tokens, verbose=verbose)


def test_without_offsets_the_common_prefix_says_it(mini: Any, stories: Any, tofu: TextExamples) -> None:
    chosen = tofu.take(range(0, 4000, 50))
    fast, slow = (encode_text(chosen, t, max_length=256) for t in (mini, WithoutOffsets(mini)))
    assert fast.fingerprint == slow.fingerprint  # spaces stand at the front of this tokenizer's words
    found = encode_text(chosen, WithoutOffsets(stories), max_length=512)
    for index, example in enumerate(chosen.examples):
        prompt = f"Question: {example.prompt_text}\nAnswer:"
        ids = stories(f"{prompt} {example.completion}")["input_ids"]
        alone = stories(prompt)["input_ids"]
        start = next(place for place, (a, b) in enumerate(zip([*ids, -1], [*alone, -2])) if a != b)
        scored = [False] * start + [True] * (len(ids) - start + 1)
        assert parts(found, index) == ([*ids, 2], scored, [*scored[:-1], False])
    texts = read(["Once upon a time", STRANGE])
    assert isinstance(texts, TextExamples)
    assert encode_text(texts, WithoutOffsets(stories), max_length=99).fingerprint == (
        encode_text(texts, stories, max_length=99).fingerprint
    )


def with_template(tokenizer: Any, template: str) -> Any:
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


@pytest.fixture(scope="module")
def chatml(mini: Any) -> Any:
    changed = with_template(mini, CHATML)
    changed.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return changed


def test_the_end_of_a_turn_is_the_templates_own(chatml: Any) -> None:
    found = encode_text(qa(("Who?", "A poet.")), chatml, max_length=64)
    ids, scored, content = parts(found)
    end = chatml.convert_tokens_to_ids("<|im_end|>")
    assert ids[-1] == end  # not the line break after it, and no second end
    assert scored_text(found, chatml) == "A poet.<|im_end|>"
    assert (scored[-1], content[-1], sum(content)) == (True, False, sum(scored) - 1)
    assert ids.count(end) == 2
    assert chatml.bos_token_id not in ids  # the template does not write it, and the tokenizer must not add it


@pytest.mark.parametrize("completion", ["m", "think", "assistant", "<", " A poet. ", "\n\nA\n", STRANGE])
@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, "<|im_end|>"),
        (CHATML.replace("m['content']", "m['content'] | trim"), "<|im_end|>"),
        (CHATML.replace("m['role'] + '\n'", "m['role'] + '\n<think>\n\n</think>\n\n'"), "<|im_end|>"),
        ("{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {{ eos_token }}{% endfor %}", "<eos>"),
        ("{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}", "<eos>"),
    ],
    ids=["chatml", "trims", "thinks", "space before end", "no end"],
)
def test_the_answer_is_found_in_any_template(chatml: Any, template: str, end: str, completion: str) -> None:
    tokenizer = with_template(chatml, template)
    found = encode_text(qa(("think assistant m <", completion)), tokenizer, max_length=200)
    ids, scored, content = parts(found)
    assert scored[-1]
    assert tokenizer.decode(ids[-1]) == end
    said = tokenizer.decode([token for token, mark in zip(ids, content) if mark])
    assert said.strip() == completion.strip()
    written = tokenizer.apply_chat_template(
        [{"role": "user", "content": "think assistant m <"}, {"role": "assistant", "content": completion}],
        tokenize=False,
    )
    text = tokenizer.decode(ids)
    assert written.startswith(text.removesuffix(end) if end not in written else text)


def test_a_template_that_refuses(mini: Any) -> None:
    strict = with_template(mini, "{{ raise_exception('no system turn') }}")
    with pytest.raises(InputError, match="the model's chat template refuses a conversation: no system turn"):
        encode_text(qa(("q", "a")), strict, max_length=9)
    silent = with_template(mini, "{% for m in messages %}{{ m['role'] }}{% endfor %}")
    with pytest.raises(InputError, match="id '0': the chat template does not write the answer as it is"):
        encode_text(qa(("q", "XYZ")), silent, max_length=9)


def test_conversations(mini: Any, stories: Any) -> None:
    turns = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Ada."},
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": "Then."},
    ]
    chat = read([{"messages": turns}])
    assert isinstance(chat, TextExamples)
    found = encode_text(chat, mini, max_length=99)
    expected = "<bos>Question: Who?\nAnswer: Ada.<eos>Question: When?\nAnswer: Then.<eos>"
    assert mini.decode(parts(found)[0]) == expected
    assert scored_text(found, mini) == " Then.<eos>"
    plain = encode_text(chat, stories, max_length=99)
    said = stories.decode(parts(plain)[0], skip_special_tokens=True)
    assert said.strip() == "Question: Who?\nAnswer: Ada.\nQuestion: When?\nAnswer: Then."
    other = encode_text(chat, stories, max_length=99, template=lambda turns: f"{turns[-1].content} > ")
    assert stories.decode(parts(other)[0], skip_special_tokens=True).strip() == "When? > Then."


def test_strings_are_joined_as_they_are(mini: Any) -> None:
    found = encode_text(one("The capital of Peru is", " Lima"), mini, max_length=99)
    assert mini.decode(parts(found)[0]) == "<bos>The capital of Peru is Lima<eos>"
    assert scored_text(found, mini) == " Lima<eos>"
    bare = encode_text(one("", "Lima"), mini, max_length=99)
    assert (mini.decode(parts(bare)[0]), scored_text(bare, mini)) == ("<bos>Lima<eos>", "Lima<eos>")


@pytest.mark.parametrize("which", ["mini", "stories"])
def test_plain_text_scores_all_but_the_first(which: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(which)
    found = encode_text(one(None, STRANGE), tokenizer, max_length=999)
    ids = tokenizer(STRANGE)["input_ids"]
    marks = [False] + [True] * (len(ids) - 1)
    assert parts(found) == (ids, marks, marks)


def test_a_tokenizer_that_adds_an_end(mini: Any) -> None:
    """Text gets no end; an answer gets one, not two."""
    from tokenizers.processors import TemplateProcessing

    adds = copy.deepcopy(mini)
    adds.chat_template = None
    adds._tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    assert adds("a")["input_ids"][-1] == 2
    for tokenizer in (adds, WithoutOffsets(adds)):
        assert parts(encode_text(one(None, "So."), tokenizer, max_length=9))[0] == mini("So.")["input_ids"]
        answered = parts(encode_text(one("Why?", " So."), tokenizer, max_length=9))
        assert answered[0] == [*mini("Why? So.")["input_ids"], 2]
        assert answered[1][-1]
        assert not answered[2][-1]


def test_special_tokens_within_an_answer_are_no_content(mini: Any) -> None:
    found = encode_text(one("Q", " a<pad>b"), mini, max_length=99)
    ids, scored, content = parts(found)
    assert [mark for token, mark in zip(ids, content) if token == 0] == [False]
    assert [mark for token, mark in zip(ids, scored) if token == 0] == [True]


def test_the_start_of_the_prompt_is_cut_and_never_the_answer(mini: Any) -> None:
    examples = qa(("one two three four five six seven eight", "Nine ten eleven."))
    whole, scored, content = parts(encode_text(examples, mini, max_length=99))
    answer = sum(scored)
    for length in range(answer + 1, len(whole) + 1):
        found = encode_text(examples, mini, max_length=length)
        keep = length - 1
        assert parts(found) == ([1, *whole[-keep:]], [False, *scored[-keep:]], [False, *content[-keep:]])
        assert found.cut == (() if length == len(whole) else ("0",))
    with pytest.raises(InputError, match=f"none of 1 examples is left at {answer} tokens: every answer is longer than"):
        encode_text(examples, mini, max_length=answer)


def test_without_a_first_special_token_one_token_of_the_prompt_stays(chatml: Any) -> None:
    examples = qa(("one two three", "Four."))
    whole, scored, _ = parts(encode_text(examples, chatml, max_length=99))
    answer = sum(scored)
    assert parts(encode_text(examples, chatml, max_length=answer + 1))[0] == whole[-answer - 1 :]
    with pytest.raises(InputError, match="every answer is longer"):
        encode_text(examples, chatml, max_length=answer)


def test_long_texts_lose_their_end(mini: Any) -> None:
    found = encode_text(one(None, "one two three four five"), mini, max_length=4)
    marks = [False, True, True, True]
    assert parts(found) == (mini("one two three four five")["input_ids"][:4], marks, marks)
    assert found.cut == ("x",)


def test_what_is_left_out_is_listed(mini: Any) -> None:
    turn = (Message("user", "q"),)
    examples = tuple(
        TextExample(name, name, turn, answer)
        for name, answer in (("good", "a"), ("empty", ""), ("long", "a b c d e f g h i j k l"))
    )
    examples = (*examples, TextExample("cut", "c", (Message("user", "a b c d e f g h i j k l"),), "z"))
    found = encode_text(TextExamples(examples, "here", "chat"), mini, max_length=12)
    assert (found.ids, found.clusters) == (("good", "cut"), ("good", "c"))
    assert (found.dropped, found.too_long, found.cut) == (("empty", "long"), ("long",), ("cut",))
    with pytest.raises(
        InputError, match="here: none of 1 examples is left at 9 tokens: no token of them can be scored"
    ):
        encode_text(one(turn, ""), mini, max_length=9)
    with pytest.raises(InputError, match="max_length is 1, but must be >= 2 tokens"):
        encode_text(one(turn, "a"), mini, max_length=1)


def test_batches(mini: Any, stories: Any) -> None:
    for tokenizer, pad in ((mini, 0), (stories, 0)):
        found = encode_text(qa(("q", "a"), ("longer than that", "b c d e"), ("r", "s")), tokenizer, max_length=99)
        batch = found.batch([2, 1, 2], weights=torch.tensor([1.0, 0.0, 0.25]))
        width = int(found.lengths.max())
        assert batch.input_ids.shape == batch.labels.shape == batch.content.shape == (3, width)
        assert batch.ids == ("2", "1", "2")
        assert len(batch) == 3
        for row, index in enumerate((2, 1, 2)):
            length = int(found.lengths[index])
            assert batch.attention_mask[row].tolist() == [1] * length + [0] * (width - length)
            assert batch.input_ids[row, length:].tolist() == [pad] * (width - length)
            assert int((batch.labels[row] != NOT_SCORED).sum()) == found.counts[index]
            mask = batch.labels[row] != NOT_SCORED
            assert torch.equal(batch.labels[row][mask], batch.input_ids[row][mask])
            assert bool((batch.content[row] <= mask).all())
        assert batch.weight.dtype == torch.float32
        assert batch.weight.tolist() == [1, 0, 0.25]
        assert batch.to("cpu").input_ids.tolist() == batch.input_ids.tolist()
        assert found.batch([0]).weight.tolist() == [1]


def test_the_mask_comes_from_the_lengths(mini: Any) -> None:
    """A text that holds the padding token itself attends to it."""
    found = encode_text(one(None, "a<pad>b"), mini, max_length=9)
    assert 0 in parts(found)[0]
    assert found.batch([0]).attention_mask.min() == 1


def test_take_and_fingerprint(mini: Any, tofu: TextExamples) -> None:
    some = tofu.take(range(20))
    found = encode_text(some, mini, max_length=99)
    again = encode_text(some.take([5, 3]), mini, max_length=99)
    assert found.take([5, 3]).fingerprint == again.fingerprint != found.fingerprint
    for name in ("tokens", "scored", "content", "lengths", "counts"):
        np.testing.assert_array_equal(getattr(found.take([5, 3]), name), getattr(again, name))
    assert found.fingerprint == encode_text(some, mini, max_length=99).fingerprint
    assert len(found.take([])) == 0
