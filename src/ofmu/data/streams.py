"""Endless streams of indices: shuffled without replacement, resumable, the same for any number of processes.

Forget and retain are two independent streams. A stream is a pure function of its seed:
shuffle number e is drawn by a counter-based generator keyed by (seed, e), so its whole state is where it
stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ofmu.errors import InputError


class Stream:
    """Batches of exactly ``batch_size`` indices out of 0 … n−1.

    One shuffle follows the other without a gap, so a batch may hold the end of one and the start of the
    next; each index comes once a shuffle. With n < batch_size a batch holds several shuffles.

    Args:
        n: number of examples, ≥ 1.
        batch_size: examples of one optimiser step over all processes, ≥ 1.
        generator_seed: ≥ 0; the caller gives each stream its own.

    >>> stream = Stream(3, 2, generator_seed=0)
    >>> sorted(stream.next() + stream.next() + stream.next())
    [0, 0, 1, 1, 2, 2]
    """

    def __init__(self, n: int, batch_size: int, generator_seed: int) -> None:
        for name, value, least in (
            ("n", n, 1),
            ("batch_size", batch_size, 1),
            ("generator_seed", generator_seed, 0),
        ):
            if value < least:
                raise InputError(f"stream: {name} is {value}, but must be >= {least}")
        self.n, self.batch_size, self.seed = n, batch_size, generator_seed
        self._shuffle, self._position = 0, 0
        self._order = self._draw(0)

    def next(self) -> list[int]:
        """The next ``batch_size`` indices."""
        batch: list[int] = []
        while len(batch) < self.batch_size:
            if self._position == self.n:
                self._shuffle, self._position = self._shuffle + 1, 0
                self._order = self._draw(self._shuffle)
            part = self._order[self._position : self._position + self.batch_size - len(batch)]
            batch += part.tolist()
            self._position += len(part)
        return batch

    @property
    def epochs(self) -> float:
        """How often the examples have been seen: shuffles finished plus the share of this one, ≥ 0."""
        return self._shuffle + self._position / self.n

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, as plain integers."""
        return {"n": self.n, "seed": self.seed, "shuffle": self._shuffle, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``; the batch size may be another one.

        Raises:
            InputError: if the state is of a stream over other examples or of another seed.
        """
        if (state["n"], state["seed"]) != (self.n, self.seed):
            raise InputError(
                f"the saved stream has {state['n']} examples and seed {state['seed']}, "
                f"this one {self.n} and seed {self.seed}: resume with the same data and seed"
            )
        self._shuffle, self._position = int(state["shuffle"]), int(state["position"])
        self._order = self._draw(self._shuffle)

    def _draw(self, shuffle: int) -> np.ndarray:
        bits = np.random.Philox(np.random.SeedSequence((self.seed, shuffle)))
        return np.random.Generator(bits).permutation(self.n)
