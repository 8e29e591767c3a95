"""What a model is asked to continue: of each example exactly the tokens that scoring shows before the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ofmu.data.examples import TextExamples
from ofmu.data.spans import Scored, scored_tokens, special_ids
from ofmu.data.templates import Template, question_and_answer
from ofmu.errors import InputError

_NO_LIMIT = 1 << 30
_SPACES = frozenset(" \u2581\u0120")  # a space as tokenizers spell it: itself, SentencePiece's, byte-level BPE's


@dataclass(frozen=True, eq=False)
class Prompts:
    """Tokenised prompts, in the order of the data.

    Args:
        ids: the examples' ids, n of them.
        clusters: their clusters.
        tokens: n arrays int64, ≥ 1 token each.
        expected: int64 (n,), tokens of the true answer with the end of its turn: batches of like length are
            made from it, nothing else.
        ends: tokens that end an answer: the tokenizer's end token and the template's end of turn.
        cut: ids of prompts whose beginning was cut off.
        pad: the token that fills up a batch; nothing attends to it.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    tokens: tuple[NDArray[np.int64], ...]
    expected: NDArray[np.int64]
    ends: tuple[int, ...]
    cut: tuple[str, ...] = ()
    pad: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Input ids and attention mask, (B, T) int64, padded on the left; the mask is made from the lengths."""
        width = max(len(self.tokens[index]) for index in indices)
        ids = np.full((len(indices), width), self.pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, index in enumerate(indices):
            length = len(self.tokens[index])
            ids[row, width - length :] = self.tokens[index]
            mask[row, width - length :] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)


def encode_prompts(
    examples: TextExamples,
    tokenizer: Any,
    *,
    max_length: int,
    template: Template = question_and_answer,
) -> Prompts:
    """The prompt of each example as tokens, as :func:`ofmu.data.tokens.encode_text` puts them before the answer.

    With a chat template this is the text with its generation prompt. A space between prompt and answer that
    is a token of its own is left to the answer: the model has to write it.

    Args:
        examples: texts that have a prompt.
        tokenizer: of ``transformers``.
        max_length: tokens a prompt may have, ≥ 1: the model's context less the tokens to be generated. Of a
            longer prompt the beginning is cut; a first special token stays.
        template: writes turns where the tokenizer has no chat template.

    Raises:
        InputError: for a text without a prompt, a prompt of no token, or ``max_length`` < 1.

    Source: METRICS.md §1.
    """
    _check_length(max_length)
    special = special_ids(tokenizer)
    spaces = frozenset(number for token, number in tokenizer.get_vocab().items() if set(token) <= _SPACES)
    tokens: list[NDArray[np.int64]] = []
    expected: list[int] = []
    cut: list[str] = []
    ends = {tokenizer.eos_token_id} - {None}
    for example, item in zip(examples.examples, scored_tokens(examples.examples, tokenizer, template), strict=True):
        prompt = _prompt(item, spaces) if example.prompt is not None else []
        if not prompt:
            raise InputError(f"{examples.source}: id '{example.id}' has no prompt that could be continued")
        if len(prompt) > max_length:
            cut.append(example.id)
        tokens.append(np.asarray(_last(prompt, max_length, tokenizer.bos_token_id), dtype=np.int64))
        expected.append(len(item.ids) - len(prompt))
        if item.scored[-1] and item.ids[-1] in special:
            ends.add(item.ids[-1])
    return Prompts(
        ids=examples.ids,
        clusters=examples.clusters,
        tokens=tuple(tokens),
        expected=np.asarray(expected, dtype=np.int64),
        ends=tuple(sorted(ends)),
        cut=tuple(cut),
        pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
    )


def tokenised_prompts(
    texts: Sequence[str],
    tokenizer: Any,
    *,
    max_length: int,
    expected: Sequence[int] | None = None,
    clusters: Sequence[str] | None = None,
) -> Prompts:
    """Prompts that are texts already, tokenised as they stand, trailing spaces too; their ids are "0", "1" and so on.

    Args:
        texts: without a chat template; special tokens are added as the tokenizer does.
        tokenizer: of ``transformers``.
        max_length: as in :func:`encode_prompts`.
        expected: tokens of the true answers; None: not known.
        clusters: None: each its own.

    Raises:
        InputError: for a prompt of no token, or ``max_length`` < 1.
    """
    _check_length(max_length)
    ids = tuple(map(str, range(len(texts))))
    found = [list(tokenizer(text, verbose=False)["input_ids"]) for text in texts]
    if not all(found):
        raise InputError(f"prompt {next(i for i, tokens in enumerate(found) if not tokens)} has no token")
    return Prompts(
        ids=ids,
        clusters=ids if clusters is None else tuple(clusters),
        tokens=tuple(np.asarray(_last(each, max_length, tokenizer.bos_token_id), dtype=np.int64) for each in found),
        expected=np.zeros(len(ids), np.int64) if expected is None else np.asarray(expected, dtype=np.int64),
        ends=() if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,),
        cut=tuple(name for name, tokens in zip(ids, found) if len(tokens) > max_length),
        pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
    )


def _check_length(max_length: int) -> None:
    if max_length < 1:
        raise InputError(f"a prompt may have {max_length} tokens, but needs at least 1: generate fewer tokens")


def _prompt(item: Scored, spaces: frozenset[int]) -> list[int]:
    """All tokens before C but spaces at the end."""
    first = item.first
    while first > 0 and item.ids[first - 1] in spaces:
        first -= 1
    return item.ids[:first]


def _last(prompt: list[int], length: int, bos: int | None) -> list[int]:
    """The last tokens of a prompt, its first one kept where it is the begin token."""
    if len(prompt) <= length:
        return prompt
    head = prompt[:1] if prompt[0] == bos and length > 1 else []
    return head + prompt[len(prompt) - length + len(head) :]


def prompt_room(context: int | None, max_new_tokens: int) -> int:
    """Tokens that a prompt may have beside the generated ones: the context less these, but at least half of it.

    A prompt of more than ``context - max_new_tokens`` tokens gets fewer new ones, not none.

    >>> prompt_room(4096, 200), prompt_room(256, 200)
    (3896, 128)
    """
    if context is None:
        return _NO_LIMIT
    return max(context - max_new_tokens, context // 2, 1)
