"""Rows become texts: the conventions that people use, told apart by their columns.

| format | columns | prompt | completion |
|---|---|---|---|
| ``multiple_choice`` | ``question``, ``choices``, ``answer`` (index, letter) | a ``user`` turn | the choice |
| ``question_answer`` | ``question``, ``answer`` | a ``user`` turn | the answer |
| ``prompt_completion`` | ``prompt``, ``completion``: strings, or messages as in TRL | as it is | as it is |
| ``chat`` | ``messages`` | the turns before the last assistant turn | the last assistant turn |
| ``text`` | ``text`` | None | the text |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ofmu.data.clusters import cluster_rows
from ofmu.data.examples import Message, TextExample, TextExamples
from ofmu.data.identities import row_ids
from ofmu.data.tables import Table, kind

Prompt = str | tuple[Message, ...] | None
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Content:
    """What a row says: prompt, completion, and what the format itself adds to ``extra``."""

    prompt: Prompt
    completion: str
    extra: dict[str, Any] = field(default_factory=dict)


def read_texts(table: Table, format: str, *, cluster_by: str | None = None) -> TextExamples:
    """The texts of a table whose columns are those of ``format``.

    Args:
        table: rows.
        format: one of :data:`TEXT_FORMATS`.
        cluster_by: the column that says which rows belong together, or ``none``; None: see :mod:`ofmu.data.clusters`.

    A cell that is missing, empty or of the wrong type, or an id that comes twice, is an InputError that names
    the file and the row.
    """
    columns, parse = TEXT_FORMATS[format]
    contents = [parse(table, row) for row in range(len(table.rows))]
    for row, content in enumerate(contents):
        if not content.completion.strip():
            raise table.error(row, "no text" if content.prompt is None else f"a prompt with no {columns[-1]}")
    ids = row_ids(table)
    clusters, recognised = cluster_rows(table, [(c.prompt, c.completion) for c in contents], format, cluster_by)
    used = {*columns, "id", "cluster"}
    examples = (
        TextExample(
            id=ids[row],
            cluster=clusters[row],
            prompt=content.prompt,
            completion=content.completion,
            extra={name: value for name, value in table.rows[row].items() if name not in used} | content.extra,
        )
        for row, content in enumerate(contents)
    )
    return TextExamples(tuple(examples), table.source, format, recognised)


def _question(table: Table, row: int) -> tuple[Message, ...]:
    question = table.text(row, "question")
    if not question.strip():
        raise table.error(row, "the question is empty")
    return (Message("user", question),)


def _question_answer(table: Table, row: int) -> Content:
    return Content(_question(table, row), table.text(row, "answer"))


def _multiple_choice(table: Table, row: int) -> Content:
    choices = table.cell(row, "choices")
    if not isinstance(choices, list | tuple) or not choices or not all(isinstance(c, str) for c in choices):
        raise table.error(row, f"column 'choices' is {kind(choices)}, but must be a list of texts")
    index = _choice(table, row, len(choices))
    return Content(_question(table, row), choices[index], {"choices": list(choices), "answer": index})


def _choice(table: Table, row: int, count: int) -> int:
    """The right choice's index, written as a number or as a letter."""
    given = table.cell(row, "answer")
    index = -1
    if isinstance(given, str) and len(given.strip()) == 1 and given.strip().isalpha():
        index = _LETTERS.find(given.strip().upper())
    elif isinstance(given, int) and not isinstance(given, bool):
        index = given
    elif isinstance(given, str) and given.strip().isdecimal():
        index = int(given)
    if not 0 <= index < count:
        allowed = f"0 to {count - 1} or A to {_LETTERS[min(count, 26) - 1]}"
        found = repr(given) if len(str(given)) < 12 else f"{str(given)[:10]!r}…"
        raise table.error(row, f"answer is {found}, but there are {count} choices ({allowed})")
    return index


def _prompt_completion(table: Table, row: int) -> Content:
    """Two strings are joined as they are; with messages on either side, a string is the turn of its side."""
    if any(isinstance(table.cell(row, column), list | tuple) for column in ("prompt", "completion")):
        turns = [*_messages(table, row, "prompt", "user"), *_messages(table, row, "completion", "assistant")]
        return _last_assistant_turn(table, row, turns)
    if table.cell(row, "prompt") is None:
        raise table.error(row, "column 'prompt' is nothing, but must be text (it may be empty: \"\")")
    return Content(table.text(row, "prompt"), table.text(row, "completion"))


def _chat(table: Table, row: int) -> Content:
    return _last_assistant_turn(table, row, _messages(table, row, "messages"))


def _text(table: Table, row: int) -> Content:
    return Content(None, table.text(row, "text"))


def _messages(table: Table, row: int, column: str, role: str | None = None) -> list[Message]:
    """The messages of a cell; text is one turn of ``role``, if there may be text."""
    turns = table.cell(row, column)
    if role is not None and not isinstance(turns, list | tuple):
        return [Message(role, table.text(row, column))]
    if not isinstance(turns, list | tuple) or not turns:
        raise table.error(row, f"column '{column}' is {kind(turns)}, but must be a list of messages")
    messages: list[Message] = []
    for number, turn in enumerate(turns):
        parts = (turn.get("role"), turn.get("content")) if isinstance(turn, Mapping) else (None, None)
        if not isinstance(parts[0], str) or not isinstance(parts[1], str):
            raise table.error(row, f"message {number} of '{column}' must have the texts 'role' and 'content'")
        messages.append(Message(parts[0], parts[1]))
    return messages


def _last_assistant_turn(table: Table, row: int, turns: Sequence[Message]) -> Content:
    """What follows the last assistant turn cannot influence it and is left out."""
    for place in range(len(turns) - 1, -1, -1):
        if turns[place].role == "assistant":
            if not turns[place].content.strip():
                raise table.error(row, "a prompt with no completion: the last assistant turn is empty")
            return Content(tuple(turns[:place]), turns[place].content)
    raise table.error(row, "a prompt with no completion: no message has the role 'assistant'")


TEXT_FORMATS: dict[str, tuple[tuple[str, ...], Callable[[Table, int], Content]]] = {
    "multiple_choice": (("question", "choices", "answer"), _multiple_choice),
    "question_answer": (("question", "answer"), _question_answer),
    "prompt_completion": (("prompt", "completion"), _prompt_completion),
    "chat": (("messages",), _chat),
    "text": (("text",), _text),
}
