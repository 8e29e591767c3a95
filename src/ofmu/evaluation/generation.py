"""The second pass over a set: what a model says when it is asked (greedily, or drawn with a seed)."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from ofmu.data.prompts import Prompts
from ofmu.engine.forward import innermost
from ofmu.engine.modes import evaluating
from ofmu.errors import InputError
from ofmu.evaluation import key_values
from ofmu.models.folders import context_of
from ofmu.models.quiet import quiet

_SEGMENT = 4  # new tokens between two looks at which rows have ended and leave the batch


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

    Prompts are padded on the left, those with the longest true answers come first. An answer that has ended leaves the
    batch and another prompt takes its place (where the model's cache allows it). The settings of the model's
    generation configuration (penalties, temperature …) do not apply, only its end tokens do, with those of the
    prompts. A greedy answer is the likeliest token at each step, the lowest id among equals; a sampled one inverts
    the distribution function at numbers of its own, so that neither depends on the batch beyond rounding. No random
    state is read or changed; modules get their modes back.

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
        job = _Job(inner, prompts, rows, limits, sample, torch.device(device))
        for place, answer, ended, bad in job.run(batch_size):
            index, number = rows[place]
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


@dataclass(eq=False)
class _Rows:
    """B answers on their way.

    Args:
        places: (B,) which rows of the whole job they are.
        ids: (B, W) prompts and what has been generated, padded on the left.
        mask: (B, W), 0 on padding.
        count: (B,) tokens generated.
        broken: (B,) bool: logits were not finite.
        uniform: (B, max) numbers that draw the tokens; None: greedy.
        cache: keys and values of all columns but the last; None: none.
    """

    places: Tensor
    ids: Tensor
    mask: Tensor
    count: Tensor
    broken: Tensor
    uniform: Tensor | None
    cache: Any = None

    def advance(self, model: Any, steps: int, sample: Sampling | None) -> None:
        """Generate at most so many tokens more; fewer if all rows end."""
        width = self.ids.shape[1]
        choice = _Choice(self) if sample is None else _Draw(self, sample)
        found = model.generate(
            input_ids=self.ids,
            attention_mask=self.mask,
            past_key_values=key_values.with_room(self.cache, steps),
            max_new_tokens=steps,
            logits_processor=LogitsProcessorList([choice]),
        )
        self.ids, self.cache = found.sequences, found.get("past_key_values")
        fresh = self.ids.shape[1] - width
        self.mask = functional.pad(self.mask, (0, fresh), value=1)
        self.count = self.count + fresh

    def select(self, places: Tensor) -> _Rows:
        """These rows, columns that are padding in all of them cut off."""
        mask = self.mask[places]
        width = int(mask.sum(dim=1).max()) if key_values.can_join(self.cache) else mask.shape[1]
        return _Rows(
            self.places[places],
            self.ids[places][:, -width:],
            mask[:, -width:],
            self.count[places],
            self.broken[places],
            None if self.uniform is None else self.uniform[places],
            key_values.select(self.cache, places, width - 1),
        )

    def joined(self, other: _Rows) -> _Rows:
        """Both, the shorter padded on the left."""
        width = max(self.ids.shape[1], other.ids.shape[1])

        def both(first: Tensor, second: Tensor) -> Tensor:
            return torch.cat([functional.pad(part, (width - part.shape[1], 0)) for part in (first, second)])

        uniform = None
        if self.uniform is not None and other.uniform is not None:
            uniform = torch.cat([self.uniform, other.uniform])
        return _Rows(
            torch.cat([self.places, other.places]),
            both(self.ids, other.ids),
            both(self.mask, other.mask),
            torch.cat([self.count, other.count]),
            torch.cat([self.broken, other.broken]),
            uniform,
            key_values.joined(self.cache, other.cache),
        )


class _Job:
    """All answers of a call: rows enter the batch as others leave it."""

    def __init__(
        self,
        model: Any,
        prompts: Prompts,
        rows: Sequence[tuple[int, int]],
        limits: NDArray[np.int64],
        sample: Sampling | None,
        device: torch.device,
    ) -> None:
        self.model, self.prompts, self.rows, self.sample, self.device = model, prompts, rows, sample, device
        self.limits = torch.tensor([int(limits[index]) for index, _ in rows], device=device)
        ends = _as_list(model.generation_config.eos_token_id)
        self.ends = torch.tensor(list(ends), dtype=torch.long, device=device)

    def run(self, batch_size: int) -> Iterator[tuple[int, NDArray[np.int32], bool, bool]]:
        """Number of a row, its tokens, whether it ended by itself, whether its logits were not finite."""
        waiting, active = 0, None
        while active is not None or waiting < len(self.rows):
            free = batch_size - (0 if active is None else len(active.places))
            may_enter = active is None or (4 * free >= batch_size and key_values.can_join(active.cache))
            if waiting < len(self.rows) and may_enter:
                entering = self._entering(range(waiting, min(waiting + free, len(self.rows))))
                waiting += len(entering.places)
                left = yield from self._step(entering, 1)
                if left is not None:
                    active = left if active is None else active.joined(left)
            elif active is not None:
                active = yield from self._step(active, _SEGMENT)

    def _entering(self, places: range) -> _Rows:
        rows = [self.rows[place] for place in places]
        ids, mask = (part.to(self.device) for part in self.prompts.batch([index for index, _ in rows]))
        uniform = None
        if self.sample is not None:
            most = int(self.limits.max())
            drawn = [self.sample.numbers(self.prompts.ids[index], number, most) for index, number in rows]
            uniform = torch.from_numpy(np.stack(drawn)).to(self.device)
        count = torch.zeros(len(rows), dtype=torch.long, device=self.device)
        return _Rows(torch.tensor(places, device=self.device), ids, mask, count, count.bool(), uniform)

    def _step(self, rows: _Rows, most: int) -> Generator[tuple[int, NDArray[np.int32], bool, bool], None, _Rows | None]:
        """Go on for a segment; give the answers that are done and return the rows that are not."""
        limits = self.limits[rows.places]
        width, before = rows.ids.shape[1], rows.count
        rows.advance(self.model, min(most, int((limits - before).min())), self.sample)
        stops = torch.isin(rows.ids[:, width:], self.ends)
        stopped = stops.any(dim=1)
        done = stopped | (rows.count >= limits)
        length = torch.where(stopped, before + stops.int().argmax(dim=1), rows.count)
        for row in done.nonzero()[:, 0].tolist():
            start = rows.ids.shape[1] - int(rows.count[row])
            answer = rows.ids[row, start : start + int(length[row])].cpu().numpy().astype(np.int32)
            yield int(rows.places[row]), answer, bool(stopped[row]), bool(rows.broken[row])
        if not done.any():
            return rows
        return None if done.all() else rows.select((~done).nonzero()[:, 0])


class _Choice(LogitsProcessor):
    """Greedy: leaves the scores as they are and notes rows whose scores are not finite."""

    def __init__(self, rows: _Rows) -> None:
        self.rows = rows
        self.width = rows.ids.shape[1]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.rows.broken = self.rows.broken | ~scores.amax(dim=1).isfinite()  # NaN wins a maximum
        return scores


class _Draw(_Choice):
    """Sampling: all scores but the drawn token's become −inf, so that the greedy choice is the drawn one.

    The token is the first whose cumulated probability exceeds u · total, u the row's number for this step.
    """

    def __init__(self, rows: _Rows, sample: Sampling) -> None:
        super().__init__(rows)
        self.sample, self.before = sample, rows.count

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().__call__(input_ids, scores)
        assert self.rows.uniform is not None
        step = self.before + (input_ids.shape[1] - self.width)
        p = (scores.double() / self.sample.temperature).softmax(dim=1)  # (B, V)
        if self.sample.top_p < 1:
            p = _nucleus(p, self.sample.top_p)
        cumulated = p.nan_to_num().cumsum(dim=1)
        target = self.rows.uniform.gather(1, step[:, None]) * cumulated[:, -1:]
        token = torch.searchsorted(cumulated, target, right=True).clamp_max(scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


def _nucleus(p: Tensor, top_p: float) -> Tensor:
    """Probabilities (B, V), 0 outside the smallest set of likeliest tokens that reaches ``top_p``."""
    ordered, index = p.sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(dim=1) - ordered
    return torch.zeros_like(p).scatter(1, index, ordered.masked_fill(before >= top_p, 0.0))
