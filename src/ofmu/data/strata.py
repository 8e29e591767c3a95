"""Batches drawn from groups of examples in fixed parts: stratified sampling, resumable as its streams are.

The groups take turns in a batch, so that its beginning, or a half of it, is of all of them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from ofmu.data.streams import Stream
from ofmu.errors import InputError


class Strata:
    """Batches of exactly ``batch_size`` indices, in equal parts from each stratum; the first ones get what is over.

    Args:
        strata: disjoint groups of indices, none empty.
        batch_size: examples of one optimiser step over all processes, ≥ the number of strata.
        generator_seed: ≥ 0; the caller gives each of its streams its own. From it each stratum gets one.

    >>> Strata([[7], [1, 2]], 4, generator_seed=0).next()[::2]
    [7, 7]
    """

    def __init__(self, strata: Sequence[Sequence[int]], batch_size: int, generator_seed: int) -> None:
        if batch_size < len(strata):
            raise InputError(f"batches of {batch_size} cannot be drawn from {len(strata)} groups of examples")
        self.strata = [list(stratum) for stratum in strata]
        each, over = divmod(batch_size, len(strata))
        seeds = np.random.SeedSequence(generator_seed).generate_state(len(strata), np.uint64).tolist()
        self._streams = [
            Stream(len(stratum), each + (number < over), seed)
            for number, (stratum, seed) in enumerate(zip(self.strata, seeds))
        ]

    def next(self) -> list[int]:
        """The next ``batch_size`` indices, one of each stratum in turns."""
        parts = [[stratum[k] for k in stream.next()] for stratum, stream in zip(self.strata, self._streams)]
        return [index for turn in zip_longest(*parts) for index in turn if index is not None]

    def state_dict(self) -> dict[str, Any]:
        """The strata and where their streams stand, as plain integers."""
        return {"strata": self.strata, "streams": [stream.state_dict() for stream in self._streams]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the state of a sampler of the same strata."""
        for stream, found in zip(self._streams, state["streams"], strict=True):
            stream.load_state_dict(found)
