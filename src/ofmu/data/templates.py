"""The text that a model sees of an example, and where in it the scored part stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from ofmu.data.examples import Message, TextExample
from ofmu.errors import InputError

Template = Callable[[Sequence[Message]], str]
"""Turns → the prompt's text, for models without a chat template."""

_SENTINEL = "\ue0ffthe-answer\ue0ff"  # private characters: no template and no text has them


@dataclass(frozen=True)
class Rendered:
    """A whole text, of which ``text[start:end]`` is scored.

    Args:
        text: what is tokenised.
        start: first character of the scored part.
        end: the character after its last one.
        special: whether the text itself holds the special tokens (a chat template writes them), so that the
            tokenizer must add none.
    """

    text: str
    start: int
    end: int
    special: bool


def render(examples: Sequence[TextExample], tokenizer: Any, template: Template) -> list[Rendered]:
    """Prompt and completion of each example as one text.

    Turns are written by the tokenizer's chat template, or by :func:`question_and_answer` where it has none.
    Strings are joined as they are.
    """
    if tokenizer.chat_template:
        turns = [example for example in examples if isinstance(example.prompt, tuple)]
        chats = iter(_chats(turns, tokenizer))
        return [next(chats) if isinstance(e.prompt, tuple) else _plain(e, template) for e in examples]
    return [_plain(example, template) for example in examples]


def question_and_answer(turns: Sequence[Message]) -> str:
    r"""The prompt for a model without a chat template; the one place that says it.

    ``Question: …``, a new line, ``Answer: ``. Other turns come before, each on its own line; a
    system turn stands without a heading.

    >>> question_and_answer([Message("user", "Who wrote it?")])
    'Question: Who wrote it?\nAnswer: '
    """
    headings = {"user": "Question: ", "assistant": "Answer: "}
    return "".join(f"{headings.get(turn.role, '')}{turn.content}\n" for turn in turns) + "Answer: "


def _plain(example: TextExample, template: Template) -> Rendered:
    match example.prompt:
        case None:
            before = ""
        case str(words):
            before = words
        case turns:
            before = template(turns)
    text = before + example.completion
    return Rendered(text, len(before), len(text), special=False)


def _chats(examples: Sequence[TextExample], tokenizer: Any) -> list[Rendered]:
    """The chat template's texts; each prompt once more with a sentinel, which shows where the answer stands."""
    if not examples:
        return []
    whole = _apply(examples, [example.completion for example in examples], tokenizer)
    asked = {example.prompt: example for example in examples}
    marked = dict(zip(asked, _apply(list(asked.values()), [_SENTINEL] * len(asked), tokenizer), strict=True))
    return [_locate(text, marked[example.prompt], example) for text, example in zip(whole, examples, strict=True)]


def _locate(whole: str, marked: str, example: TextExample) -> Rendered:
    before, _, after = marked.partition(_SENTINEL)
    for answer in (example.completion, example.completion.strip()):  # many templates strip
        if whole == before + answer + after:
            return Rendered(whole, len(before), len(before) + len(answer), special=True)
    answer = example.completion.strip()
    start = whole.rfind(answer)  # a template that writes other things around other answers
    if start < 0:
        raise InputError(f"id '{example.id}': the chat template does not write the answer as it is")
    return Rendered(whole, start, start + len(answer), special=True)


def _apply(examples: Sequence[TextExample], answers: Sequence[str], tokenizer: Any) -> list[str]:
    conversations = [
        [*(turn.as_dict() for turn in example.prompt or () if isinstance(turn, Message)), _assistant(answer)]
        for example, answer in zip(examples, answers, strict=True)
    ]
    try:
        return tokenizer.apply_chat_template(conversations, tokenize=False)
    except TemplateError as error:
        raise InputError(f"the model's chat template refuses a conversation: {error}") from error


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}
