"""Texts become tokens, once; batches are padded on the right from there (METRICS.md §1)."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ofmu.data.examples import Modality, TextExamples
from ofmu.data.spans import Scored, scored_tokens
from ofmu.data.templates import Template, question_and_answer
from ofmu.errors import InputError

NOT_SCORED = -100


@dataclass(frozen=True)
class TextBatch:
    """B texts padded on the right to T tokens.

    Args:
        ids: the examples' ids.
        input_ids: (B, T) int64.
        attention_mask: (B, T) int64, 1 on real tokens; from the lengths, never from ``id != pad``.
        labels: (B, T) int64, aligned with ``input_ids``, not shifted: token t is predicted by logits t−1;
            −100 where nothing is scored. The scored tokens are S.
        content: (B, T) bool, S⁻: scored tokens that are text (no end of turn, no special token).
        weight: (B,) float32, 1 unless the caller says otherwise.
    """

    ids: tuple[str, ...]
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    content: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> TextBatch:
        """The same batch on a device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            labels=self.labels.to(device),
            content=self.content.to(device),
            weight=self.weight.to(device),
        )


@dataclass(frozen=True, eq=False)
class TokenSet:
    """Tokenised examples, those without a scored token left out.

    Args:
        ids: the examples' ids, n of them.
        clusters: their clusters.
        tokens: int32 (Σ lengths,), all token ids one after another.
        scored: bool, the same shape: S.
        content: bool, the same shape: S⁻.
        lengths: int64 (n,), tokens of each example, ≥ 2.
        counts: int64 (n,), scored tokens of each example, ≥ 1.
        cut: ids of examples that were shortened to the context.
        dropped: ids of examples that were left out: no scored token, or ``too_long``.
        too_long: ids of those whose answer alone does not fit into the context.
        pad: the token that fills up a batch; nothing attends to it.
        facts: name → float64 (n,), what is known of the answers before any model: ``utf8_bytes``, ``zlib_bytes``.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    tokens: np.ndarray
    scored: np.ndarray
    content: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray
    cut: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    too_long: tuple[str, ...] = ()
    pad: int = 0
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)
    modality: ClassVar[Modality] = "text"

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of ids, clusters, tokens and masks, in order."""
        digest = hashlib.sha256(json.dumps([self.ids, self.clusters]).encode())
        for array in (self.tokens, self.scored, self.content, self.lengths):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def batch(self, indices: Sequence[int], weights: Sequence[float] | Tensor | None = None) -> TextBatch:
        """Examples as one padded batch.

        Args:
            indices: B positions 0 … n−1; one may come twice.
            weights: (B,); None: ones.
        """
        width = int(max(self.lengths[index] for index in indices))
        shape = (len(indices), width)
        input_ids = np.full(shape, self.pad, dtype=np.int64)
        labels = np.full(shape, NOT_SCORED, dtype=np.int64)
        content = np.zeros(shape, dtype=bool)
        for row, index in enumerate(indices):
            part, length = self.part(index), self.lengths[index]
            input_ids[row, :length] = self.tokens[part]
            labels[row, :length] = np.where(self.scored[part], self.tokens[part], NOT_SCORED)
            content[row, :length] = self.content[part]
        mask = np.arange(width)[None, :] < self.lengths[np.asarray(indices)][:, None]
        return TextBatch(
            ids=tuple(self.ids[index] for index in indices),
            input_ids=torch.from_numpy(input_ids),
            attention_mask=torch.from_numpy(mask.astype(np.int64)),
            labels=torch.from_numpy(labels),
            content=torch.from_numpy(content),
            weight=batch_weights(len(indices), weights),
        )

    def take(self, indices: Sequence[int]) -> TokenSet:
        """The examples at these positions, in this order; ``cut`` and its like stay those of the whole."""
        where = np.asarray(indices, dtype=np.int64)
        parts = [self.part(index) for index in where]
        none = np.zeros(0, dtype=np.int64)
        flat = np.concatenate([none, *(np.arange(part.start, part.stop) for part in parts)])
        return replace(
            self,
            ids=tuple(self.ids[index] for index in where),
            clusters=tuple(self.clusters[index] for index in where),
            tokens=self.tokens[flat],
            scored=self.scored[flat],
            content=self.content[flat],
            lengths=self.lengths[where],
            counts=self.counts[where],
            facts={name: fact[where] for name, fact in self.facts.items()},
        )

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.lengths)

    def part(self, index: int) -> slice:
        """Where the tokens of an example are."""
        end = int(self._ends[index])
        return slice(end - int(self.lengths[index]), end)


def joined(sets: Sequence[TokenSet]) -> TokenSet:
    """All examples of some sets of one tokenizer, one set after another; facts are left out."""

    def flat(name: str) -> tuple[str, ...]:
        return tuple(each for part in sets for each in getattr(part, name))

    def whole(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in sets])

    return replace(
        sets[0],
        **{name: flat(name) for name in ("ids", "clusters", "cut", "dropped", "too_long")},
        **{name: whole(name) for name in ("tokens", "scored", "content", "lengths", "counts")},
        facts={},
    )


def encode_text(
    examples: TextExamples,
    tokenizer: Any,
    *,
    max_length: int,
    template: Template = question_and_answer,
) -> TokenSet:
    """Tokenise examples and mark what is scored.

    Args:
        examples: texts.
        tokenizer: of ``transformers``; with a chat template, turns are written by it.
        max_length: the model's context in tokens, ≥ 2. Of a longer example the start of the prompt is cut (a
            first special token stays), never the answer; of a text without prompt the end.
        template: writes turns where the tokenizer has no chat template.

    Raises:
        InputError: if no example is left.
    """
    if max_length < 2:
        raise InputError(f"max_length is {max_length}, but must be >= 2 tokens")
    kept, cut, dropped, too_long = _fitted(examples, tokenizer, template, max_length)
    if not kept:
        why = "every answer is longer than the context" if too_long else "no token of them can be scored"
        raise InputError(f"{examples.source}: none of {len(examples)} examples is left at {max_length} tokens: {why}")
    return TokenSet(
        ids=tuple(examples.ids[number] for number, _ in kept),
        clusters=tuple(examples.clusters[number] for number, _ in kept),
        tokens=np.concatenate([np.asarray(item.ids, dtype=np.int32) for _, item in kept]),
        scored=np.concatenate([np.asarray(item.scored, dtype=bool) for _, item in kept]),
        content=np.concatenate([np.asarray(item.content, dtype=bool) for _, item in kept]),
        lengths=np.array([len(item.ids) for _, item in kept], dtype=np.int64),
        counts=np.array([sum(item.scored) for _, item in kept], dtype=np.int64),
        cut=tuple(cut),
        dropped=tuple(dropped),
        too_long=tuple(too_long),
        pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
        facts=_sizes([examples.examples[number].completion for number, _ in kept]),
    )


def _fitted(
    examples: TextExamples, tokenizer: Any, template: Template, max_length: int
) -> tuple[list[tuple[int, Scored]], list[str], list[str], list[str]]:
    """(Number, tokens) of the examples that are kept; ids of those cut, left out, and among these too long."""
    kept: list[tuple[int, Scored]] = []
    cut: list[str] = []
    dropped: list[str] = []
    too_long: list[str] = []
    for number, item in enumerate(scored_tokens(examples.examples, tokenizer, template)):
        example = examples.examples[number]
        fitted = _fit(item, max_length, from_end=example.prompt is None, bos=tokenizer.bos_token_id)
        if fitted is None or not any(fitted.scored):
            dropped.append(example.id)
            too_long += [example.id] if fitted is None else []
            continue
        if fitted is not item:
            cut.append(example.id)
        kept.append((number, fitted))
    return kept, cut, dropped, too_long


def _sizes(answers: Sequence[str]) -> dict[str, np.ndarray]:
    """Bytes of each answer as UTF-8, and of that compressed by zlib at its default level."""
    raw = [answer.encode("utf-8", "surrogatepass") for answer in answers]
    return {
        "utf8_bytes": np.array([len(each) for each in raw], dtype=np.float64),
        "zlib_bytes": np.array([len(zlib.compress(each)) for each in raw], dtype=np.float64),
    }


def batch_weights(size: int, weights: Sequence[float] | Tensor | None) -> Tensor:
    """(B,) float32 weights; None: ones."""
    return torch.ones(size) if weights is None else torch.as_tensor(weights, dtype=torch.float32)


def _fit(item: Scored, max_length: int, *, from_end: bool, bos: int | None) -> Scored | None:
    """At most ``max_length`` tokens; None if the answer and one token before it do not fit."""
    surplus = len(item.ids) - max_length
    if surplus <= 0:
        return item
    if from_end:
        keep = slice(0, max_length)
        return Scored(item.ids[keep], item.scored[keep], item.content[keep], item.first)
    head = 1 if item.ids[0] == bos else 0
    if surplus > item.first - max(head, 1):
        return None
    keep = slice(head + surplus, None)
    return Scored(
        item.ids[:head] + item.ids[keep],
        item.scored[:head] + item.scored[keep],
        item.content[:head] + item.content[keep],
        item.first - surplus,
    )
