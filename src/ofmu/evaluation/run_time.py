"""RTE, run-time efficiency: what a method costs after the request, beside retraining on the same machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ofmu.errors import InputError


@dataclass(frozen=True)
class RunTime:
    """What a run took; evaluation and loading are not counted.

    Args:
        seconds: wall time of everything the method needs.
        steps: of the optimiser.
        gradients: one is the gradient of one loss on one requested batch.
        forwards: forward passes without a gradient, in batches.
        device: where it ran.
    """

    seconds: float
    steps: int
    gradients: float
    forwards: float
    device: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> RunTime:
        """From the ``manifest.json`` of a run."""
        return cls(
            seconds=manifest["seconds"],
            steps=manifest["steps"],
            gradients=manifest["gradients"],
            forwards=manifest["forwards"],
            device=manifest["environment"]["device"],
        )


def speedup(retrained: RunTime, unlearned: RunTime) -> float:
    """RTE_r / RTE_u: how many times faster than retraining; up, > 0.

    Args:
        retrained: the training without the forget set.
        unlearned: the unlearning.

    Raises:
        InputError: the runs were on different devices, or one took no time.

    Source: METRICS.md §8 (RTE). Differs from common practice, which prints the time of an epoch and leaves out what is
        computed before the first one.
    """
    if retrained.device != unlearned.device:
        raise InputError(
            f"retraining ran on {retrained.device}, unlearning on {unlearned.device}: "
            "run times compare on one machine only"
        )
    if not (retrained.seconds > 0 and unlearned.seconds > 0):
        raise InputError(f"run times of {retrained.seconds} s and {unlearned.seconds} s cannot be compared")
    return retrained.seconds / unlearned.seconds
