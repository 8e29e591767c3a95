"""What steers is never what is reported: every evaluation source is dealt into two halves by cluster.

The order comes from a hash of the cluster's id, so neither the order of the rows nor a seed decides, and
nobody can choose. A cluster is in one half wherever it appears.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

Half = Literal["steer", "report"]


def deal(*sources: Sequence[str]) -> dict[str, Half]:
    """Deal the clusters of several sources alternately to the two halves.

    Clusters are ordered by blake2b of their id (8 bytes). In each source, those that no earlier source has
    dealt go in turn to the half that has fewer of this source's clusters, ``steer`` first: every source is
    as even as the earlier ones allow, and the first one exactly (± 1).

    Args:
        *sources: the cluster of each example, one sequence a source, in a fixed order (forget, holdout …).

    Returns:
        The half of every cluster.

    >>> deal(["a", "b", "c"]) | deal([])
    {'c': 'steer', 'a': 'report', 'b': 'steer'}
    """
    halves: dict[str, Half] = {}
    for clusters in sources:
        names = sorted(set(clusters), key=_order)
        count: dict[Half, int] = {"steer": 0, "report": 0}
        for name in names:
            if name in halves:
                count[halves[name]] += 1
        for name in names:
            if name not in halves:
                halves[name] = "steer" if count["steer"] <= count["report"] else "report"
                count[halves[name]] += 1
    return halves


def steer_report(clusters: Sequence[str], dealt: Mapping[str, Half] | None = None) -> list[Half]:
    """The half of each example.

    Args:
        clusters: the cluster of each example.
        dealt: halves that :func:`deal` has given to the clusters of several sources; None deals these alone.

    Returns:
        ``"steer"`` or ``"report"``, one an example. Source: METRICS.md §11.
    """
    known = deal(clusters) if dealt is None else dealt
    return [known[cluster] for cluster in clusters]


def _order(cluster: str) -> tuple[bytes, str]:
    return hashlib.blake2b(cluster.encode("utf-8", "surrogatepass"), digest_size=8).digest(), cluster
