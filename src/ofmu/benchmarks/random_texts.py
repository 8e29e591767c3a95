"""Random tokens in the place of texts, for benchmarks of time and of derivatives."""

from __future__ import annotations

import numpy as np

from ofmu.data.tokens import TokenSet

SIDES = ("forget", "retain")


def random_texts(name: str, *, seed: int, batch: int, sequence: int, vocabulary: int) -> TokenSet:
    """One batch; all tokens but the first of each text are scored.

    Args:
        name: of the side, ``forget`` or ``retain``, whose tokens differ.
        seed: draws, with the side.
        batch: texts.
        sequence: tokens of each.
        vocabulary: tokens there are; 0 is not drawn.
    """
    draw = np.random.Generator(np.random.Philox([seed, SIDES.index(name)]))
    shape = (batch, sequence)
    scored = np.ones(shape, dtype=bool)
    scored[:, 0] = False
    ids = tuple(f"{name}-{n}" for n in range(batch))
    return TokenSet(
        ids=ids,
        clusters=ids,
        tokens=draw.integers(1, vocabulary, size=shape, dtype=np.int32).ravel(),
        scored=scored.ravel(),
        content=scored.ravel(),
        lengths=np.full(batch, sequence, dtype=np.int64),
        counts=np.full(batch, sequence - 1, dtype=np.int64),
    )
