"""Which clusters of a large retain set are measured: at most 400 of a half, drawn once by seed."""

from __future__ import annotations

from collections.abc import Sequence

from ofmu.evaluation.statistics import generator

LIMIT = 400


def drawn(clusters: Sequence[str], halves: Sequence[str], half: str, *, seed: int, limit: int = LIMIT) -> list[int]:
    """Positions of the examples of one half whose clusters were drawn, in the order of the data.

    Drawing again from what was drawn, with the same seed, takes all of it.

    Args:
        clusters: the cluster of each example.
        halves: the half of each example, ``"steer"`` or ``"report"``.
        half: the half to draw from.
        seed: of the run.
        limit: how many clusters at most.

    Source: METRICS.md §11.
    """
    names = sorted({cluster for cluster, own in zip(clusters, halves) if own == half})
    if len(names) > limit:
        rng = generator("retain clusters", half, str(seed))
        names = [names[index] for index in rng.choice(len(names), size=limit, replace=False)]
    chosen = set(names)
    return [index for index, (cluster, own) in enumerate(zip(clusters, halves)) if own == half and cluster in chosen]
