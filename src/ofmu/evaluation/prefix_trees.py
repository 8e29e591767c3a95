"""Token sequences that begin alike, as trees: a model reads what they share once.

The true answer of a question, its paraphrase and its wrong answers share the question and often more; all texts of a
chat template share its first tokens. A tree holds each distinct beginning as one node; a node sees the nodes on the way
to it and nothing else, so that what a model says there is what it says after that beginning alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NODES = 256  # of a tree that takes more sequences than it was meant to at most


@dataclass(frozen=True, eq=False)
class Tree:
    """M sequences, in N nodes numbered so that a node comes after those on the way to it.

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

    def branches(self) -> Iterator[tuple[NDArray[np.int64], int]]:
        """(path, how many of its nodes a path before it had), for each path that has nodes of its own.

        A path's own nodes are its last ones and follow each other, path after path.
        """
        known = 0
        for path in self.paths:
            shared = int(np.searchsorted(path, known))
            if shared < len(path):
                yield path, shared
            known += len(path) - shared


def trees(sequences: Sequence[NDArray[np.integer]], most: int) -> list[Tree]:
    """Sequences in trees of ``most``, neighbours in the order of their tokens together; each is in one tree.

    More sequences go into a tree as long as it has no more than :data:`NODES` nodes.

    Args:
        sequences: of tokens, none empty.
        most: ≥ 1.
    """
    order = sorted(range(len(sequences)), key=lambda number: sequences[number].tolist())
    found: list[_Growing] = []
    for number in order:
        if not found or not found[-1].has_room(sequences[number], most):
            found.append(_Growing())
        found[-1].add(number, sequences[number])
    return [each.tree() for each in found]


class _Growing:
    """A tree that still takes sequences, in the order of their tokens."""

    def __init__(self) -> None:
        self.members: list[int] = []
        self.paths: list[NDArray[np.int64]] = []
        self.parts: list[NDArray[np.integer]] = []
        self.size = 0
        self.last: NDArray[np.integer] = np.zeros(0, np.int64)

    def has_room(self, tokens: NDArray[np.integer], most: int) -> bool:
        return len(self.members) < most or self.size + len(tokens) - _shared(self.last, tokens) <= NODES

    def add(self, number: int, tokens: NDArray[np.integer]) -> None:
        shared = _shared(self.last, tokens)
        fresh = np.arange(self.size, self.size + len(tokens) - shared)
        self.paths.append(np.concatenate([self.paths[-1][:shared], fresh]) if shared else fresh)
        self.members.append(number)
        self.parts.append(tokens[shared:])
        self.size, self.last = self.size + len(fresh), tokens

    def tree(self) -> Tree:
        return Tree(tuple(self.members), tuple(self.paths), np.concatenate(self.parts).astype(np.int64))


def _shared(first: NDArray[np.integer], second: NDArray[np.integer]) -> int:
    """Length of the common beginning."""
    both = min(len(first), len(second))
    different = np.flatnonzero(first[:both] != second[:both])
    return int(different[0]) if len(different) else both
