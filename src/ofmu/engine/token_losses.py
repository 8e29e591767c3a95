"""The losses of single tokens under a model, example by example."""

from __future__ import annotations

from torch import nn

from ofmu.engine.checks import per_example
from ofmu.engine.levels import Floats
from ofmu.engine.loss import Draw
from ofmu.engine.meter import Meter
from ofmu.engine.processes import Processes


def token_losses(
    model: nn.Module, chosen: Draw, *, processes: Processes, meter: Meter | None, part_size: int
) -> list[Floats]:
    """−log p of every scored token of the chosen examples: arrays (n_i,), in nats, the same on all ranks.

    Args:
        model: in evaluation mode.
        chosen: the examples; an image has one token.
        processes: the ranks that share the work.
        meter: counts the forward passes; None: they are not counted.
        part_size: examples a forward pass on one rank.
    """
    counts = [int(chosen.data.counts[i]) for i in chosen.indices]
    width = max(counts, default=0)
    padded = per_example(
        model,
        chosen.data,
        chosen.indices,
        lambda rows: rows.padded(-rows.log_probabilities(), width),
        shape=(width,),
        processes=processes,
        meter=meter,
        part_size=part_size,
    )
    return [losses[:count] for losses, count in zip(padded, counts, strict=True)]
