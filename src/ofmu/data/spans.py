"""Which tokens are scored (METRICS.md §1): S = C + E and S⁻ = C without special tokens.

C are the tokens whose characters meet the answer's; E is the end of the turn: the template's own mark, else
the end token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ofmu.data.examples import TextExample
from ofmu.data.templates import Rendered, Template, render

_CHUNK = 1000  # texts tokenised at a time: offsets are Python objects


@dataclass(frozen=True)
class Scored:
    """The tokens of one example; ``first`` … the last one are the answer and the end of its turn.

    Args:
        ids: tokens up to the end of the turn.
        scored: S, the same length.
        content: S⁻, the same length.
        first: index of the first token of C; 0 if nothing comes before the answer.
    """

    ids: list[int]
    scored: list[bool]
    content: list[bool]
    first: int


def scored_tokens(examples: Sequence[TextExample], tokenizer: Any, template: Template) -> Iterator[Scored]:
    """Tokens and masks of each example, not cut to any length."""
    special = special_ids(tokenizer)
    for start in range(0, len(examples), _CHUNK):
        part = examples[start : start + _CHUNK]
        texts = render(part, tokenizer, template)
        spans = _by_offsets(texts, tokenizer) if tokenizer.is_fast else _by_common_prefix(texts, tokenizer, special)
        for example, span in zip(part, spans, strict=True):
            yield (_whole_text(span, special) if example.prompt is None else _with_end(span, special, tokenizer))


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids that stand for no text: begin, end, end of turn, padding and the like."""
    added = (number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset([*tokenizer.all_special_ids, *added])


@dataclass(frozen=True)
class _Span:
    """Tokens of a text; ``ids[first:last]`` are C."""

    ids: list[int]
    first: int
    last: int


def _by_offsets(texts: Sequence[Rendered], tokenizer: Any) -> Iterator[_Span]:
    ids: list[list[int]] = [[] for _ in texts]
    offsets: list[Any] = [[] for _ in texts]
    for special in (True, False):
        chosen = [number for number, text in enumerate(texts) if text.special is special]
        if chosen:
            out = tokenizer(
                [texts[number].text for number in chosen],
                add_special_tokens=not special,
                return_offsets_mapping=True,
                return_attention_mask=False,
                verbose=False,
            )
            for number, row, spans in zip(chosen, out["input_ids"], out["offset_mapping"], strict=True):
                ids[number], offsets[number] = row, spans
    for text, row, spans in zip(texts, ids, offsets, strict=True):
        # a token that the tokenizer added has an empty span and meets nothing
        meets = [i for i, (a, b) in enumerate(spans) if a < text.end and b > text.start and b > a]
        yield _Span(row, meets[0], meets[-1] + 1) if meets else _Span(row, len(row), len(row))


def _by_common_prefix(texts: Sequence[Rendered], tokenizer: Any, special: frozenset[int]) -> Iterator[_Span]:
    """Without offsets: C starts where tok(text) leaves tok(prompt without its last spaces)."""
    for text in texts:
        add = not text.special
        ids = _ids(tokenizer, text.text[: text.end], add)
        prompt = _ids(tokenizer, text.text[: text.start].rstrip(" "), add) if text.start else []
        first = next((i for i, (a, b) in enumerate(zip(ids, prompt)) if a != b), min(len(ids), len(prompt)))
        while not text.start and first < len(ids) and ids[first] in special and add:
            first += 1  # what the tokenizer adds in front is no answer
        while add and len(ids) > first and ids[-1] in special:
            ids.pop()
        tail = _ids(tokenizer, text.text[text.end :], add=False) if text.end < len(text.text) else []
        yield _Span(ids + tail, first, len(ids))


def _ids(tokenizer: Any, text: str, add: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=add, verbose=False)["input_ids"])


def _with_end(span: _Span, special: frozenset[int], tokenizer: Any) -> Scored:
    """Prompt, answer and the end of the turn; what a template writes after it is left out."""
    end = next((i for i in range(span.last, len(span.ids)) if span.ids[i] in special), None)
    ids = span.ids[: span.last] if end is None else span.ids[: end + 1]
    has_end = span.first < span.last and (end is not None or tokenizer.eos_token_id is not None)
    if end is None and has_end:
        ids = [*ids, tokenizer.eos_token_id]
    scored = [span.first <= i < span.last for i in range(len(ids))]
    content = [mark and token not in special for mark, token in zip(scored, ids, strict=True)]
    scored[-1:] = [has_end or scored[-1]] if ids else []
    return _predictable(ids, scored, content, span.first)


def _whole_text(span: _Span, special: frozenset[int]) -> Scored:
    """Every token but the first, and no end: S⁻ = S."""
    ids = span.ids[: span.last]
    scored = [True] * len(ids)
    return _predictable(ids, scored, list(scored), 1)


def _predictable(ids: list[int], scored: list[bool], content: list[bool], first: int) -> Scored:
    """Nothing predicts the first token of a text, so it is never scored."""
    scored[:1] = content[:1] = [False] if ids else []
    return Scored(ids, scored, content, first)
