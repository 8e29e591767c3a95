"""Attention in a tree: each branch looks at the way to it and at nothing else.

A model of ``transformers`` looks up the function that attends by the name in its configuration. For a while the name is
ours, and the function gathers the queries of each branch, and the keys and values on the way to them, into a row of
their own. All else that a model does to a token it does to all nodes at once, without padding.

Legend: N nodes; a branch are the nodes that one sequence has and no sequence before it; M branches that attend
together, of at most F nodes, at the end of ways of at most L; H heads of width d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ofmu.evaluation.prefix_trees import Tree

NAME = "ofmu_branches"
TOGETHER = 8  # branches of like length in one call


@dataclass(frozen=True, eq=False)
class _Rows:
    """Branches that attend together.

    Args:
        own: (M, F) their nodes; what is beyond the end of a branch does not count.
        way: (M, L) the nodes on the way to its end, its own included.
        seen: (M, 1, F, L) which of them each node sees: those before it, and itself.
    """

    own: Tensor
    way: Tensor
    seen: Tensor


@dataclass(frozen=True, eq=False)
class Branches:
    """The branches of a tree.

    Args:
        rows: the branches, some at a time.
        place: (N,) where each node is among all Σ M · F.
    """

    rows: tuple[_Rows, ...]
    place: Tensor

    @classmethod
    def of(cls, tree: Tree, device: torch.device) -> Branches:
        """The branches of a tree, those of like length together."""
        found = sorted(tree.branches(), key=lambda branch: len(branch[0]))
        some = [_padded(found[start : start + TOGETHER]) for start in range(0, len(found), TOGETHER)]
        nodes = np.concatenate([np.where(real, own, -1).ravel() for own, _, _, real in some])
        real = np.flatnonzero(nodes >= 0)
        place = np.empty(len(tree), np.int64)
        place[nodes[real]] = real
        rows = [_Rows(*(torch.from_numpy(each).to(device) for each in (own, way, seen))) for own, way, seen, _ in some]
        return cls(tuple(rows), torch.from_numpy(place).to(device))


def _padded(some: Sequence[tuple[NDArray[np.int64], int]]) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Own nodes, ways and what is seen, as :class:`_Rows` has them, and which of the own nodes there really are."""
    shared = np.array([before for _, before in some])
    sizes = np.array([len(path) for path, _ in some]) - shared
    own = np.zeros((len(some), sizes.max()), np.int64)
    way = np.zeros((len(some), (shared + sizes).max()), np.int64)
    for row, (path, before) in enumerate(some):
        own[row, : len(path) - before], way[row, : len(path)] = path[before:], path
    step = np.arange(own.shape[1])
    seen = np.arange(way.shape[1]) <= (shared[:, None] + step)[:, :, None]
    return own, way, seen[:, None], step < sizes[:, None]


@contextmanager
def attending(model: nn.Module, branches: Branches) -> Iterator[None]:
    """Inside, the model takes the N nodes of a tree as one text.

    Args:
        model: a language model of ``transformers`` that looks its attention up by name.
        branches: of the tree.
    """
    config: Any = model.config
    before = config._attn_implementation
    ALL_ATTENTION_FUNCTIONS[NAME] = partial(_attend, branches)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        del ALL_ATTENTION_FUNCTIONS[NAME]


def _attend(
    branches: Branches,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What ``transformers`` asks of an attention: (1, H, N, d) → (1, N, H, d)."""
    found = []
    for rows in branches.rows:
        q, k, v = _gathered(query, rows.own), _gathered(key, rows.way), _gathered(value, rows.way)
        out = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=rows.seen, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        found.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(found).index_select(0, branches.place)[None], None


def _gathered(states: Tensor, nodes: Tensor) -> Tensor:
    """(1, H, N, d) at (M, F) nodes → (M, H, F, d)."""
    found = states[0].transpose(0, 1).index_select(0, nodes.flatten())
    return found.unflatten(0, nodes.shape).transpose(1, 2)
