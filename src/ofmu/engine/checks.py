"""What a run looks at on its way: the forget side against its goal, the retain loss against its band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from ofmu.engine.forward import Encoded, rows
from ofmu.engine.levels import Floats
from ofmu.engine.meter import Meter
from ofmu.engine.processes import Processes
from ofmu.losses.rows import Rows


@dataclass(frozen=True)
class Check:
    """One look at the steering examples.

    Args:
        forget_loss: mean loss of the watched forget examples, in nats (of a removed class: share predicted as it).
        retain_loss: mean loss of the steering retain examples, in nats.
        reached: whether this check finds the goal reached.
        agreement: p-value of the forget losses against their levels; None where there are no levels.
        progress: share of the way from the start to the goal, 0 at the start, 1 at the goal; None without a goal.
        retain_excess: rise of the retain loss above the start as a share of its distance to chance level.
    """

    forget_loss: float
    retain_loss: float
    reached: bool
    agreement: float | None
    progress: float | None
    retain_excess: float

    def as_dict(self) -> dict[str, float | bool | None]:
        """For the history."""
        return asdict(self)


@torch.no_grad()
def per_example(
    model: nn.Module,
    data: Encoded,
    indices: Sequence[int],
    facts: Callable[[Rows], Tensor] = Rows.nll_means,
    *,
    shape: tuple[int, ...] = (),
    processes: Processes,
    meter: Meter | None,
    part_size: int,
) -> Floats:
    """A fact of each chosen example, by default its mean loss A_i: (n, *shape) float64, in the order of `indices`.

    All ranks get the same values. Sharded or not, every rank does the same number of forward passes.
    """
    order = sorted(range(len(indices)), key=lambda k: data.lengths[indices[k]])
    out = torch.zeros(len(indices), *shape, dtype=torch.float64)
    rounds = -(-len(order) // (part_size * processes.world))
    for number in range(rounds):
        start = (number * processes.world + processes.rank) * part_size
        mine = order[start : start + part_size]
        batch = data.batch([indices[k] for k in mine or order[:1]]).to(processes.device)
        with processes.autocast():
            found = rows(model, batch)
        if mine:
            out[torch.tensor(mine)] = facts(found).cpu().double()
    if meter is not None:
        meter.forward_examples += len(indices)
    return processes.total(out).numpy()
