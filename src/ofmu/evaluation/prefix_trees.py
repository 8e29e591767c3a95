"""Token sequences that begin alike, as trees: a model reads what they share once.

The true answer of a question, its paraphrase and its wrong answers share the question and often more. A tree holds each
distinct beginning as one node; a node sees the nodes on the way to it and nothing else, so that what a model says there
is what it says after that beginning alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NODES = 256  # of a tree of several sequences at most: attention costs their square
WORTH = 0.25  # share of a sequence that must be there already, or it begins a tree of its own


@dataclass(frozen=True, eq=False)
class Tree:
    """M sequences that share beginnings, in N nodes numbered so that a node comes after those on the way to it.

    Args:
        members: numbers of the sequences.
        paths: M arrays: the nodes of each sequence, one a token.
        tokens: (N,) the token of each node.
    """

    members: tuple[int, ...]
    paths: tuple[NDArray[np.int64], ...]
    tokens: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tokens)

    def depths(self) -> NDArray[np.int64]:
        """How many tokens come before each node: (N,)."""
        found = np.zeros(len(self), np.int64)
        for path in self.paths:
            found[path] = np.arange(len(path))
        return found

    def visible(self) -> NDArray[np.bool_]:
        """(N, N), [i, j] True where node j is on the way to node i; each sees itself."""
        found = np.zeros((len(self), len(self)), dtype=bool)
        known = 0  # nodes of a path that no path before it had are its last ones, and follow each other
        for path in self.paths:
            shared = int(np.searchsorted(path, known))
            fresh = slice(known, known + len(path) - shared)
            found[fresh, path[:shared]] = True
            found[fresh, fresh] = np.tri(len(path) - shared, dtype=bool)
            known = fresh.stop
        return found


def trees(sequences: Sequence[NDArray[np.integer]]) -> list[Tree]:
    """Sequences in trees of at most :data:`NODES` nodes, neighbours in the order of their tokens together.

    A sequence that shares less than :data:`WORTH` of its tokens with the one before it begins a new tree; so does one
    with which the tree would grow too large. Each sequence is in one tree.

    Args:
        sequences: of tokens, none empty.
    """
    order = sorted(range(len(sequences)), key=lambda number: sequences[number].tolist())
    found: list[_Growing] = []
    for number in order:
        tokens = sequences[number]
        if not found or not found[-1].add(number, tokens):
            found.append(_Growing(number, tokens))
    return [each.tree() for each in found]


class _Growing:
    """A tree that still takes sequences."""

    def __init__(self, number: int, tokens: NDArray[np.integer]) -> None:
        self.members, self.last = [number], tokens
        self.paths = [np.arange(len(tokens))]
        self.parts = [tokens]
        self.size = len(tokens)

    def add(self, number: int, tokens: NDArray[np.integer]) -> bool:
        """Take a sequence that comes next in order, or refuse it."""
        shared = _shared(self.last, tokens)
        fresh = len(tokens) - shared
        if shared < WORTH * len(tokens) or self.size + fresh > NODES:
            return False
        self.members.append(number)
        self.paths.append(np.concatenate([self.paths[-1][:shared], np.arange(self.size, self.size + fresh)]))
        self.parts.append(tokens[shared:])
        self.size, self.last = self.size + fresh, tokens
        return True

    def tree(self) -> Tree:
        return Tree(tuple(self.members), tuple(self.paths), np.concatenate(self.parts).astype(np.int64))


def _shared(first: NDArray[np.integer], second: NDArray[np.integer]) -> int:
    """Length of the common beginning."""
    both = min(len(first), len(second))
    different = np.flatnonzero(first[:both] != second[:both])
    return int(different[0]) if len(different) else both
