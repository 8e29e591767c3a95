"""Models in float64 that know their data by heart, and the forget objectives on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ofmu.data.formats import read
from ofmu.data.images import ImageSet
from ofmu.engine.forward import rows as rows_of
from ofmu.engine.levels import Levels, deal, deal_tokens
from ofmu.errors import InputError
from ofmu.losses import (
    Rows,
    by_rank,
    clip,
    in_place,
    level,
    nll,
    npo,
    removal,
    simnpo,
    token_level,
    token_probability,
    uniform,
)
from ofmu.models.loading import load
from ofmu.runs.inputs import encoder

Objective = Callable[[Rows], Tensor]
"""F of the forget rows, 0-d, to be minimised."""

ENOUGH = 0.05
"""Loss in nats at which data count as memorised."""


@dataclass
class Memorised:
    """A model with its forget, retain and unseen rows.

    Args:
        model: trained on the first two, the toys to :data:`ENOUGH`.
        forget: rows of the forget examples at the current parameters.
        retain: their loss on the retain examples, 0-d.
        unseen: rows of examples of the same kind that it was not trained on; None where whole classes are removed.
        removed: (K,) bool, the classes to remove, which all forget examples have; None unless whole classes are.
    """

    model: nn.Module
    forget: Callable[[], Rows]
    retain: Callable[[], Tensor]
    unseen: Callable[[], Rows] | None = None
    removed: Tensor | None = None

    def __post_init__(self) -> None:
        self.parameters = dict(self.model.named_parameters())
        self._start = {name: p.detach().clone() for name, p in self.parameters.items()}

    def rows(self) -> Rows:
        """The forget rows, in the graph of the parameters."""
        return self.forget()

    @torch.no_grad()
    def nll(self) -> float:
        """Mean of the forget examples' mean losses, in nats."""
        return self.forget().nll_means().mean().item()

    @torch.no_grad()
    def reset(self) -> None:
        """Back to the memorised state."""
        for name, p in self.parameters.items():
            p.copy_(self._start[name])

    @torch.no_grad()
    def levels(self) -> Levels:
        """The levels of the forget examples and their tokens, from the unseen ones."""
        assert self.unseen is not None
        own, other = (_tokens(rows()) for rows in (self.forget, self.unseen))
        ids = self.forget().ids
        mean = lambda losses: np.array([x.mean() for x in losses])  # noqa: E731
        levels = deal(ids, mean(own), mean(other), "holdout")
        return Levels(levels.by_id, "holdout", dict(zip(ids, deal_tokens(own, other), strict=True)))


def mlp(seed: int) -> Memorised:
    """A tanh network, 10 inputs, 24 hidden units, 10 classes; 30 forget, 30 retain, 30 unseen points, labels random."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 10)).double()
    x, y = torch.randn(90, 10, dtype=torch.float64), torch.randint(10, (90,))
    ids = tuple(str(n) for n in range(30))

    def rows(start: int) -> Rows:
        part = slice(start, start + 30)
        return Rows(model(x[part]), y[part], torch.arange(30), ids)

    return _taught(model, *(partial(rows, start) for start in (0, 30, 60)))


def clusters(seed: int) -> Memorised:
    """As :func:`mlp`, of ten clusters, a class each: 30 points of the first to forget, 10 of each other to keep."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 10)).double()
    y = torch.cat([torch.zeros(30, dtype=torch.int64), torch.arange(1, 10).repeat(10)])
    x = torch.randn(10, 10, dtype=torch.float64)[y] + 0.5 * torch.randn(120, 10, dtype=torch.float64)

    def rows(part: slice) -> Rows:
        size = len(y[part])
        return Rows(model(x[part]), y[part], torch.arange(size), tuple(str(n) for n in range(size)))

    toy = _taught(model, partial(rows, slice(0, 30)), partial(rows, slice(30, None)))
    return replace(toy, removed=torch.arange(10) == 0)


def llama(seed: int) -> Memorised:
    """Two layers of width 24, 24 tokens; 12 forget, 12 retain, 12 unseen sequences: 2 that name it, 8 random ones."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=24,
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    model = LlamaForCausalLM(config).double().eval()
    names = torch.cartesian_prod(torch.arange(24), torch.arange(24))[torch.randperm(24 * 24)[:36]]
    tokens = torch.cat([names, torch.randint(24, (36, 8))], dim=1)
    ids = tuple(str(n) for n in range(12))

    def rows(start: int) -> Rows:
        part = tokens[start : start + 12]
        logits = model(input_ids=part, use_cache=False).logits[:, 1:-1]
        return Rows(logits.flatten(0, 1), part[:, 2:].flatten(), torch.arange(12).repeat_interleave(8), ids)

    return _taught(model, *(partial(rows, start) for start in (0, 12, 24)))


def classifier(folder: str, images: str, removed: int, count: int) -> Memorised:
    """An image classifier and a class that it knows.

    Args:
        folder: of the classifier.
        images: file or folder of images that it was trained on.
        removed: the class.
        count: images of it, and as many of other classes to keep; the first ones.

    Raises:
        InputError: one of them cannot be read, or there are fewer images.
    """
    loaded = load(folder, modality="image")
    encoded = encoder(loaded, None)(read(images, name="images"))
    assert isinstance(encoded, ImageSet)
    of_class = encoded.examples.labels == removed
    sides = [np.flatnonzero(side).tolist() for side in (of_class, ~of_class)]
    if min(map(len, sides)) < count:
        found = f"{len(sides[0])} images of class {removed} and {len(sides[1])} of others"
        raise InputError(f"{images} has {found}, but count is {count}: lower it, or give more images")
    assert loaded.num_classes is not None
    model = loaded.model.double().eval()
    forget, retain = (encoded.batch(side[:count]) for side in sides)
    forget, retain = (replace(batch, pixel_values=batch.pixel_values.double()) for batch in (forget, retain))
    return Memorised(
        model,
        partial(rows_of, model, forget),
        lambda: rows_of(model, retain).nll_means().mean(),
        removed=torch.arange(loaded.num_classes) == removed,
    )


def _taught(
    model: nn.Module, forget: Callable[[], Rows], retain: Callable[[], Rows], unseen: Callable[[], Rows] | None = None
) -> Memorised:
    """Adam on forget and retain rows until both are memorised."""
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(5000):
        losses = [part().nll_means().mean() for part in (forget, retain)]
        if max(loss.item() for loss in losses) < ENOUGH:
            break
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
    else:
        raise RuntimeError("a toy model did not memorise its data")
    return Memorised(model, forget, lambda: retain().nll_means().mean(), unseen)


def objectives(toy: Memorised, ceiling: float) -> dict[str, Objective]:
    """The objectives at their usual options, levels and references taken now.

    Args:
        toy: in its memorised state.
        ceiling: C of `clip`.

    Returns:
        Name → objective: `removal` where whole classes are removed, those with levels elsewhere.
    """
    with torch.no_grad():
        start = toy.rows()
        reference = start.nll_sums()
        tokens = start.counts().sum()
    ceilings = torch.full_like(reference, ceiling)
    found: dict[str, Objective] = {
        "nll": lambda rows: -nll(rows).sum() / tokens,
        "npo": lambda rows: npo(rows, reference, 0.1).mean(),
        "simnpo": lambda rows: simnpo(rows, 4.5, 0.0).mean(),
        "clip": lambda rows: clip(rows, ceilings).mean(),
        "token_probability": lambda rows: token_probability(rows).sum() / tokens,
        "uniform": lambda rows: uniform(rows).sum() / tokens,
    }
    if toy.removed is None:
        return found | _with_levels(toy, start.ids, len(start.labels) > len(start.ids))
    removed, chance = toy.removed, float(toy.removed.double().mean())
    return found | {"removal": lambda rows: removal(rows, removed, chance).mean()}


def _with_levels(toy: Memorised, ids: tuple[str, ...], of_tokens: bool) -> dict[str, Objective]:
    """The objectives that have an end: levels of examples and, where these have several, of tokens."""
    levels = toy.levels()
    wanted = torch.tensor(levels.of(ids), dtype=torch.float64)
    found: dict[str, Objective] = {
        "level": lambda rows: level(rows, wanted, 1.0).mean(),
        "level, one-sided": lambda rows: level(rows, wanted, 1.0, "one").mean(),
    }
    if of_tokens:
        now = torch.from_numpy(levels.of_tokens(ids, ascending=True))
        before = torch.from_numpy(levels.of_tokens(ids, ascending=False))
        found["token_level"] = lambda rows: token_level(rows, by_rank(rows, now), 1.0).mean()
        found["token_level, one-sided"] = lambda rows: token_level(rows, by_rank(rows, now), 1.0, "one").mean()
        found["token_level, ranks of before"] = lambda rows: token_level(rows, in_place(rows, before), 1.0).mean()
    return found


def _tokens(rows: Rows) -> list[np.ndarray]:
    counts = rows.counts().long().tolist()
    padded = rows.padded(-rows.log_probabilities(), max(counts)).numpy()
    return [losses[:count] for losses, count in zip(padded, counts, strict=True)]
