"""∇Φ, ∇F and the secant's ∇F of a pair of batches: on one rank, and on two, sharded (FSDP2) or copied (DDP)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from distributed.rounds import plain
from ofmu.core import Penalty, Phi, Problem, Secant, Vector, inner, outer
from ofmu.core.derivatives import make
from ofmu.engine.processes import Processes, processes
from ofmu.errors import InputError
from ofmu.losses import nll
from ofmu.models import sharding
from tasks import make_task

PHI = Phi(beta=0.5)
RATE = 0.01


def gradients(ranks: Processes) -> dict[str, dict[str, Tensor]]:
    """All of them, whole, by finite differences."""
    task = make_task(plain(), ranks, modality="image")
    losses = [task.loss(lambda rows, _: nll(rows), task.draw(name), "tokens") for name in ("forget", "retain")]
    problem = Problem(task.parameters, *losses, dict(task.model.named_buffers()))
    forward, central = (task.derivatives(name) for name in ("finite_difference", "central"))
    before = inner(problem, PHI, forward)
    found = {
        "inner, forward": before.gradient,
        "inner, central": inner(problem, PHI, central).gradient,
        "outer, central": outer(problem, PHI, central, Penalty(rho=0.3)).gradient,
        "outer, forward": outer(problem, PHI, forward, Penalty(rho=0.3)).gradient,
    }
    task.before_edit()
    Vector(task.parameters).add_(before.gradient, RATE)
    found["outer, secant"] = outer(problem, PHI, forward, Penalty(rho=0.3), secant=Secant(before, RATE)).gradient
    return {name: {n: x.detach().clone() for n, x in sharding.gather(dict(v)).items()} for name, v in found.items()}


def refusals(ranks: Processes) -> dict[str, str]:
    """What the back-ends that need whole parameters say of these; empty where one takes them."""
    task = make_task(plain(), ranks, modality="image")
    found = {}
    for name in ("exact", "gauss_newton"):
        try:
            make(name, task.parameters)
            found[name] = ""
        except InputError as error:
            found[name] = str(error)
    return found


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for parallel in ("fsdp", "ddp"):
        with processes(device="cpu", precision="fp32", parallel=parallel) as ranks:
            assert ranks.world == 2, "the processes do not know of each other"
            torch.save(gradients(ranks), folder / f"{parallel} {ranks.rank}.pt")
            torch.save(refusals(ranks), folder / f"{parallel} refused {ranks.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
    os._exit(0)  # nothing is left to do, and gloo's threads take their time
