"""The second pass over a set: what a model says when it is asked (greedily, or drawn with a seed)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from ofmu.data.prompts import Prompts
from ofmu.engine.forward import innermost
from ofmu.engine.modes import evaluating
from ofmu.errors import InputError
from ofmu.models.folders import context_of
from ofmu.models.quiet import quiet

_SEGMENT = 16  # new tokens between two looks at which rows have ended and can leave the batch


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn; every answer has random numbers of its own, from seed, id and number.

    Args:
        seed: of the random numbers.
        temperature: T > 0; logits are divided by it.
        top_p: in (0, 1]: only the likeliest tokens that reach this probability together are drawn.
        n: answers a prompt, ≥ 1.

    Raises:
        InputError: for a value outside its range.
    """

    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    n: int = 1

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}, but must be > 0 (greedy answers need no sampling)")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}, but must lie in (0, 1]")
        if self.n < 1:
            raise InputError(f"n is {self.n}, but must be >= 1 answer a prompt")

    def numbers(self, name: str, sample: int, count: int) -> NDArray[np.float64]:
        """The uniform numbers in [0, 1) that draw the tokens of one answer: (count,)."""
        key = hashlib.blake2b(f"{self.seed}\n{sample}\n{name}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(key))).random(count)


@dataclass(frozen=True, eq=False)
class Generations:
    """Answers in the order of the data: N prompts, n answers each (greedy: one).

    Args:
        ids: the prompts' ids.
        clusters: their clusters.
        tokens: N × n arrays int32 of generated tokens, the end token left out.
        cut: (N, n) bool: the limit of tokens came before an end.
        broken: (N, n) bool: the model's logits were not finite, so the answer means nothing.
        max_new_tokens: the limit.
        sampling: None: greedy.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    tokens: tuple[tuple[NDArray[np.int32], ...], ...]
    cut: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    max_new_tokens: int
    sampling: Sampling | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def texts(self, tokenizer: Any) -> list[list[str]]:
        """The answers as text, special tokens left out: N × n."""
        flat = [answer for answers in self.tokens for answer in answers]
        decoded = iter(tokenizer.batch_decode(flat, skip_special_tokens=True))
        return [[next(decoded) for _ in answers] for answers in self.tokens]


def generate(
    model: nn.Module,
    prompts: Prompts,
    *,
    max_new_tokens: int = 200,
    batch_size: int = 16,
    sample: Sampling | None = None,
    device: torch.device | str | None = None,
) -> Generations:
    """Let a language model answer every prompt, with its own ``generate`` and its key–value cache.

    Batches hold prompts whose true answers are of like length, longest first, padded on the left. Rows whose answer
    has ended leave the batch. The settings of the model's generation configuration (penalties, temperature …) do not
    apply, only its end tokens do, with those of the prompts. A greedy answer is the likeliest token at each step,
    the lowest id among equals; a sampled one inverts the distribution function at numbers of its own, so that
    neither depends on the batch beyond rounding. No random state is read or changed; modules get their modes back.

    Args:
        model: a causal language model of ``transformers``, also with an adapter.
        prompts: of :func:`ofmu.data.prompts.encode_prompts`, each shorter than the model's context.
        max_new_tokens: at most so many tokens an answer, ≥ 1; fewer where the context ends.
        batch_size: answers at a time, ≥ 1.
        sample: None: greedy.
        device: where the model is; None: where its first parameter is.

    Raises:
        InputError: for a model without ``generate``, or a prompt that fills the context.

    Source: METRICS.md §1, §2.4, §2.7.
    """
    inner: Any = innermost(model)
    if not callable(getattr(inner, "generate", None)):
        raise InputError(f"{type(inner).__name__} cannot generate text: a causal language model is needed")
    device = next(model.parameters()).device if device is None else device
    limits = _limits(inner, prompts, max_new_tokens)
    n = 1 if sample is None else sample.n
    order = np.lexsort((-np.array([len(p) for p in prompts.tokens]), -np.minimum(prompts.expected, limits)))
    rows = [(int(index), number) for index in order for number in range(n)]
    tokens: list[list[NDArray[np.int32]]] = [[np.zeros(0, np.int32)] * n for _ in prompts.ids]
    cut, broken = np.zeros((2, len(prompts), n), dtype=bool)
    with evaluating(model), torch.no_grad(), quiet(), _plain(inner, prompts):
        for start in range(0, len(rows), batch_size):
            chosen = rows[start : start + batch_size]
            batch = _Batch(inner, prompts, chosen, limits, sample, torch.device(device))
            for (index, number), answer, ended, bad in zip(chosen, *batch.run(), strict=True):
                tokens[index][number], cut[index, number], broken[index, number] = answer, not ended, bad
    return Generations(prompts.ids, prompts.clusters, tuple(map(tuple, tokens)), cut, broken, max_new_tokens, sample)


def _limits(model: Any, prompts: Prompts, max_new_tokens: int) -> NDArray[np.int64]:
    """Most new tokens of each prompt: (N,)."""
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}, but must be >= 1")
    context = context_of(model)
    lengths = np.array([len(tokens) for tokens in prompts.tokens], dtype=np.int64)
    if context is None:
        return np.full(len(prompts), max_new_tokens)
    if (lengths >= context).any():
        longest = int(lengths.argmax())
        raise InputError(
            f"the prompt of id '{prompts.ids[longest]}' has {lengths[longest]} tokens, and the model's context of "
            f"{context} leaves no room for an answer: encode prompts with a smaller max_length"
        )
    return np.minimum(max_new_tokens, context - lengths)


@contextmanager
def _plain(model: Any, prompts: Prompts) -> Iterator[None]:
    """A generation configuration that says nothing but where answers end; the model's own comes back."""
    own = model.generation_config
    ends = {*prompts.ends, *_as_list(own.eos_token_id)}
    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        use_cache=True,
        return_dict_in_generate=True,
        bos_token_id=own.bos_token_id,
        eos_token_id=sorted(ends) or None,
        pad_token_id=prompts.pad,
    )
    try:
        yield
    finally:
        model.generation_config = own


def _as_list(value: int | Sequence[int] | None) -> Sequence[int]:
    return () if value is None else (value,) if isinstance(value, int) else value


class _Batch:
    """Answers that are generated together; rows leave when they have ended."""

    def __init__(
        self,
        model: Any,
        prompts: Prompts,
        rows: Sequence[tuple[int, int]],
        limits: NDArray[np.int64],
        sample: Sampling | None,
        device: torch.device,
    ) -> None:
        self.model = model
        self.ids, self.mask = (part.to(device) for part in prompts.batch([index for index, _ in rows]))
        self.width = self.ids.shape[1]
        self.limits = torch.tensor([int(limits[index]) for index, _ in rows])
        self.choice = _Choice(self.width, len(rows), device)
        if sample is not None:
            count = int(self.limits.max())
            drawn = [sample.numbers(prompts.ids[index], number, count) for index, number in rows]
            self.choice = _Draw(self.width, sample, torch.from_numpy(np.stack(drawn)).to(device))
        ends = _as_list(model.generation_config.eos_token_id)
        self.ends = torch.tensor(list(ends), dtype=torch.long, device=device)

    def run(self) -> tuple[list[NDArray[np.int32]], list[bool], list[bool]]:
        """Of each row its tokens, whether it ended by itself, and whether logits were not finite."""
        total = len(self.limits)
        answers: list[NDArray[np.int32]] = [np.zeros(0, np.int32)] * total
        ended, broken = [False] * total, [False] * total
        rows, cache = torch.arange(total), None
        while len(rows):
            done = self.ids.shape[1] - self.width
            found = self._segment(int(self.limits[rows].min()) - done, cache)
            new = found.sequences[:, self.width :]
            stops = torch.isin(new, self.ends).cpu()
            stopped = stops.any(dim=1)
            out = stopped | (self.limits[rows] <= new.shape[1])
            for place in out.nonzero()[:, 0].tolist():
                row = int(rows[place])
                length = int(stops[place].int().argmax()) if stopped[place] else int(self.limits[row])
                answers[row] = new[place, :length].cpu().numpy().astype(np.int32)
                ended[row], broken[row] = bool(stopped[place]), bool(self.choice.broken[place])
            rows, cache = rows[~out], self._leave(found, ~out)
        return answers, ended, broken

    def _segment(self, room: int, cache: Any) -> Any:
        return self.model.generate(
            input_ids=self.ids,
            attention_mask=self.mask,
            past_key_values=cache,
            max_new_tokens=min(_SEGMENT, room),
            logits_processor=LogitsProcessorList([self.choice]),
        )

    def _leave(self, found: Any, stay: Tensor) -> Any:
        """Keep the rows that go on; their cache, or None for a model whose cache cannot be cut into rows."""
        places = stay.nonzero()[:, 0].to(self.ids.device)
        sequences = found.sequences[places]
        fresh = sequences.shape[1] - self.mask.shape[1]
        self.mask = torch.cat([self.mask[places], self.mask.new_ones(len(places), fresh)], dim=1)
        self.ids = sequences
        self.choice.select(places)
        cache = found.get("past_key_values")
        if not hasattr(cache, "batch_select_indices"):
            return None
        if len(places) < len(stay):
            cache.batch_select_indices(places)
        return cache


class _Choice(LogitsProcessor):
    """Greedy: leaves the scores as they are and notes rows whose scores are not finite."""

    def __init__(self, width: int, rows: int, device: torch.device) -> None:
        self.width = width
        self.broken = torch.zeros(rows, dtype=torch.bool, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.broken |= ~scores.amax(dim=1).isfinite()  # NaN wins a maximum; −inf alone would be no distribution
        return scores

    def select(self, places: Tensor) -> None:
        """Keep these rows."""
        self.broken = self.broken[places]


class _Draw(_Choice):
    """Sampling: all scores but the drawn token's become −inf, so that the greedy choice is the drawn one.

    The token is the first whose cumulated probability exceeds u · total, u the row's number for this step.
    """

    def __init__(self, width: int, sample: Sampling, uniform: Tensor) -> None:
        super().__init__(width, len(uniform), uniform.device)
        self.sample, self.uniform = sample, uniform

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().__call__(input_ids, scores)
        step = input_ids.shape[1] - self.width
        p = (scores.double() / self.sample.temperature).softmax(dim=1)  # (B, V)
        if self.sample.top_p < 1:
            p = _nucleus(p, self.sample.top_p)
        cumulated = p.nan_to_num().cumsum(dim=1)
        target = self.uniform[:, step : step + 1] * cumulated[:, -1:]
        token = torch.searchsorted(cumulated, target, right=True).clamp_max(scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)

    def select(self, places: Tensor) -> None:
        super().select(places)
        self.uniform = self.uniform[places]


def _nucleus(p: Tensor, top_p: float) -> Tensor:
    """Probabilities (B, V), 0 outside the smallest set of likeliest tokens that reaches ``top_p``."""
    ordered, index = p.sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(dim=1) - ordered
    return torch.zeros_like(p).scatter(1, index, ordered.masked_fill(before >= top_p, 0.0))
