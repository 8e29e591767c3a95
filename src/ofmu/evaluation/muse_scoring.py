"""MUSE, the pass over the model: continue texts word for word, answer questions after solved ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ofmu.data.prompts import prompt_room, tokenised_prompts
from ofmu.data.spans import special_ids
from ofmu.errors import InputError
from ofmu.evaluation.generation import Generations, generate
from ofmu.evaluation.muse import (
    KNOWMEM_TOKENS,
    VERBMEM_TOKENS,
    cut_answer,
    cut_truth,
    few_shot_prompt,
    memorisation,
    rules,
)
from ofmu.models.folders import context_of

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Memorisation:
    """100 · ROUGE-L F1 of each example.

    Args:
        ids: of the examples: their column ``id``, else their number.
        clusters: their column ``cluster``, else the id.
        values: (N,) in [0, 100]; NaN where the model's logits were not finite.
        cut: (N,) bool: the limit of tokens ended the generation.
        mode: the rules, a name of :data:`ofmu.evaluation.muse.RULES`.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    values: NDArray[np.float64]
    cut: NDArray[np.bool_]
    mode: str

    @property
    def value(self) -> float:
        """Their mean; NaN if one is."""
        return float(self.values.mean())


def verbmem(
    model: nn.Module,
    rows: Sequence[Row],
    tokenizer: Any,
    *,
    max_new_tokens: int = VERBMEM_TOKENS,
    batch_size: int = 16,
    mode: str = "correct",
    device: torch.device | str | None = None,
) -> Memorisation:
    """Continue the beginning of each text greedily and compare with its true continuation.

    Args:
        model: a causal language model.
        rows: with the texts ``prompt`` and ``gt``.
        tokenizer: of the model.
        max_new_tokens: tokens of the continuation, and of the truth that it is compared with.
        batch_size: continuations at a time.
        mode: ``correct``, ``parity:muse`` or ``parity:open_unlearning``.
        device: where the model is; None: where its first parameter is.

    Source: METRICS.md §5, criterion 1.
    """
    prompts, truths = _column(rows, "prompt"), _column(rows, "gt")
    if rules(mode).strip_prompt:
        bare = [
            prompt.rstrip(" ") for prompt in prompts
        ]  # the spaces have to be generated, so they belong to the truth
        truths = [whole[len(prompt) :] + truth for whole, prompt, truth in zip(prompts, bare, truths)]
        prompts = bare
    special = special_ids(tokenizer)
    cut = [
        tokenizer.decode(cut_truth(_tokens(tokenizer, text, special), max_new_tokens, mode), skip_special_tokens=True)
        for text in truths
    ]
    said = _generate(model, prompts, cut, tokenizer, max_new_tokens, batch_size, device)
    return _compared(rows, said, cut, [row[0] for row in said.texts(tokenizer)], mode)


def knowmem(
    model: nn.Module,
    rows: Sequence[Row],
    tokenizer: Any,
    *,
    shots: Sequence[Row] = (),
    max_new_tokens: int = KNOWMEM_TOKENS,
    batch_size: int = 16,
    mode: str = "correct",
    device: torch.device | str | None = None,
) -> Memorisation:
    """Answer questions greedily after solved ones, and compare with the true answers.

    Args:
        model: a causal language model.
        rows: with the texts ``question`` and ``answer``.
        tokenizer: of the model.
        shots: solved questions of the same columns, put before each question. Of a prompt that is too long the
            beginning is cut: solved questions go first, the question itself never.
        max_new_tokens: tokens of an answer, before it is cut where a further question begins.
        batch_size: answers at a time.
        mode: ``correct``, ``parity:muse`` or ``parity:open_unlearning``.
        device: where the model is; None: where its first parameter is.

    Source: METRICS.md §5, criteria 2 and 4.
    """
    questions, answers = _column(rows, "question"), _column(rows, "answer")
    before = list(zip(_column(shots, "question"), _column(shots, "answer")))
    prompts = [few_shot_prompt(question, before, mode) for question in questions]
    said = _generate(model, prompts, answers, tokenizer, max_new_tokens, batch_size, device)
    texts = [cut_answer(row[0]) for row in said.texts(tokenizer)]
    return _compared(rows, said, answers, texts, mode)


def _column(rows: Sequence[Row], name: str) -> list[str]:
    for number, row in enumerate(rows):
        if not isinstance(row.get(name), str) or not row[name].strip():
            found = ", ".join(row) or "none"
            raise InputError(f"row {number} has no text in column '{name}' (it has the columns {found})")
    return [row[name] for row in rows]


def _tokens(tokenizer: Any, text: str, special: frozenset[int]) -> list[int]:
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return [token for token in ids if token not in special]


def _generate(
    model: nn.Module,
    prompts: Sequence[str],
    truths: Sequence[str],
    tokenizer: Any,
    max_new_tokens: int,
    batch_size: int,
    device: torch.device | str | None,
) -> Generations:
    if not prompts:
        raise InputError("there are no examples to generate for")
    expected = [len(tokenizer(truth, add_special_tokens=False, verbose=False)["input_ids"]) for truth in truths]
    room = prompt_room(context_of(model), max_new_tokens)
    encoded = tokenised_prompts(prompts, tokenizer, max_length=room, expected=expected)
    return generate(model, encoded, max_new_tokens=max_new_tokens, batch_size=batch_size, device=device)


def _compared(
    rows: Sequence[Row], said: Generations, truths: Sequence[str], texts: Sequence[str], mode: str
) -> Memorisation:
    values = np.array([memorisation(true, text, mode) for true, text in zip(truths, texts)])
    ids = tuple(str(row.get("id", number)) for number, row in enumerate(rows))
    clusters = tuple(str(row.get("cluster", name)) for row, name in zip(rows, ids))
    return Memorisation(ids, clusters, np.where(said.broken[:, 0], np.nan, values), said.cut[:, 0], mode)
