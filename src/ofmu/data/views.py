"""Other forms of the same examples: answers in other words, wrong answers, questions in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ofmu.data.examples import Message, TextExample, TextExamples

COLUMNS = {"paraphrased": "paraphrased_answer", "wrong": "perturbed_answer"}
"""View → column that its answers come from: a text, or a list of texts."""


def views(examples: TextExamples) -> dict[str, TextExamples]:
    """The views that the examples' further columns give; none where no example has such a column.

    Returns:
        ``"paraphrased"`` and ``"wrong"`` → the same prompts with other answers; ids ``id#0``, ``id#1`` …, the
        clusters of the examples. An example without such a column is left out.
    """
    found = {}
    for view, column in COLUMNS.items():
        rows = [
            replace(example, id=f"{example.id}#{number}", completion=answer, extra={})
            for example in examples.examples
            for number, answer in enumerate(_answers(example.extra.get(column)))
        ]
        if rows:
            found[view] = replace(examples, examples=tuple(rows))
    return found


def asked_by(examples: TextExamples, column: str) -> TextExamples | None:
    """The same examples asked with the question of a further column, those that have it; None: no one.

    Args:
        examples: texts.
        column: ``paraphrased_question``, ``translated_question`` …
    """
    rows = [
        replace(example, prompt=asked(example, question))
        for example in examples.examples
        for question in _answers(example.extra.get(column))[:1]
    ]
    return replace(examples, examples=tuple(rows)) if rows else None


def asked(example: TextExample, question: str) -> tuple[Message, ...] | str:
    """The prompt with its last turn, or all of a string, replaced by a question."""
    if not isinstance(example.prompt, tuple):
        return question
    return (*example.prompt[:-1], Message("user", question))


def base_id(view_id: str) -> str:
    """The id of the example that an example of a view belongs to.

    >>> base_id("17#4")
    '17'
    """
    return view_id.rpartition("#")[0]


def _answers(given: object) -> Sequence[str]:
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple):
        return []
    return [each for each in given if isinstance(each, str) and each.strip()]
