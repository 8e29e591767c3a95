"""One round of a method on a task made by hand: the same on one rank and on two.

Run by torchrun, it does every case sharded (FSDP2) and copied (DDP) and leaves the parameters in a folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ofmu.engine.method import Method
from ofmu.engine.nearness import nearness
from ofmu.engine.objective import Objective
from ofmu.engine.processes import Processes, processes
from ofmu.engine.task import Task
from ofmu.methods.grad_diff import GradDiff
from ofmu.methods.ofmu import OFMU
from ofmu.models import sharding
from tasks import make_task
from toys import llama


class Plain(nn.Module):
    """A torch model of no library's class, in float64; smooth, so that curvature means something."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 20), nn.Linear(20, 15), nn.Linear(15, 10)])

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.double().flatten(1)
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)


def plain() -> nn.Module:
    torch.manual_seed(3)
    return Plain().double()


SGD = {"optimiser": "sgd", "balance": "fixed"}
CONFLICT = {"similarity": "cosine", "beta": 0.5, "retain_direction": "fresh"}
"""The cosine is never inactive, so all four derivatives of an inner step are used."""
PENALTY = {"similarity": "none", "rho": 0.3, "inner_steps": 2}
"""One difference of gradients: its noise is about the square root of a gradient's."""
NESTED = {**CONFLICT, "rho": 0.3, "inner_steps": 2}
"""Differences of differences: the noise is about the fourth root of a gradient's, whatever computes it."""
RELEARNED = {"adversary_steps": 16, "inner_steps": 3}
"""The second and third inner step take their gradients at a point nearby."""
NLL = Objective(name="nll")


@dataclass(frozen=True)
class Case:
    """A method on a model; `bar` is the largest difference from one process, as a share of the round's way.

    One process differs from itself by as much when only the size of its parts changes, and so the order of its sums.
    Bars of nested differences are therefore wider; and so is AdamW's in float32, which gives a weight whose gradient
    is hardly more than rounding as long a first step as any other.
    """

    model: Callable[[], nn.Module]
    method: Method
    bar: float


CASES = {
    "float64 default, sgd": Case(plain, OFMU(**SGD), 1e-6),
    "float64 default, adamw": Case(plain, OFMU(), 1e-6),
    "float64 conflict, sgd": Case(plain, OFMU(**SGD, **CONFLICT, objective=NLL), 1e-6),
    "float64 penalty, sgd": Case(plain, OFMU(**SGD, **PENALTY, objective=NLL), 1e-6),
    "float64 nested penalty, sgd": Case(plain, OFMU(**SGD, **NESTED, objective=NLL), 1e-3),
    "float64 squared hinge, two outer steps": Case(
        plain, OFMU(margin=-1.0, rho=0.3, retain_direction="fresh", outer_steps=2, **SGD), 1e-3
    ),
    "float64 secant, sgd": Case(
        plain, OFMU(**SGD, **CONFLICT, derivatives="secant", rho=0.3, inner_steps=2, objective=NLL), 1e-3
    ),
    "float64 projected": Case(plain, OFMU(**SGD, step="projected"), 1e-6),
    "float64 relearned, sgd": Case(plain, OFMU(**SGD, **RELEARNED), 1e-6),
    "float64 grad_diff": Case(plain, GradDiff(), 1e-6),
    "llama default, sgd": Case(llama, OFMU(**SGD), 1e-2),
    "llama default, adamw": Case(llama, OFMU(), 1e-2),
    "llama nested penalty, sgd": Case(llama, OFMU(**SGD, **NESTED), 1e-2),
    "llama nested penalty, adamw": Case(llama, OFMU(**NESTED), 1e-1),
}


def task_of(model: nn.Module, ranks: Processes) -> Task:
    """A task whose batches of five are shared unevenly."""
    return make_task(model, ranks, modality="image" if isinstance(model, Plain) else "text")


def state(task: Task) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in sharding.gather(dict(task.parameters)).items()}


def one_round(case: Case, ranks: Processes) -> tuple[dict[str, Tensor], dict[str, Tensor], Task]:
    """Parameters before and after a round, whole."""
    task = task_of(case.model(), ranks)
    process = case.method.resolved().start(task)
    before = state(task)
    task.check()  # a forward pass without a backward one leaves sharded parameters gathered
    process.step()
    return before, state(task), task


def stopped_and_resumed(ranks: Processes) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two rounds without a stop, and with one in between: everything goes through a whole state and back."""
    method = OFMU(**NESTED, adversary_steps=16).resolved()
    task = task_of(llama(), ranks)
    process = method.start(task)
    process.step()
    held = sharding.gather(
        {"task": task.state_dict(), "process": process.state_dict(), "parameters": dict(task.parameters)}
    )
    process.step()
    straight = state(task)
    again = task_of(llama(seed=5), ranks)
    other = method.start(again)
    found = sharding.scatter(held, again.parameters)
    again.before_edit()
    with torch.no_grad():
        for name, value in found["parameters"].items():
            again.parameters[name].copy_(value)
    again.load_state_dict(found["task"])
    other.load_state_dict(found["process"])
    other.step()
    return straight, state(again)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for parallel in ("fsdp", "ddp"):
        with processes(device="cpu", precision="fp32", parallel=parallel) as ranks:
            assert ranks.world == 2, "the processes do not know of each other"
            for name, case in CASES.items():
                _, after, task = one_round(case, ranks)
                sharded = [isinstance(p, DTensor) for p in task.model.parameters()]
                assert all(sharded) if parallel == "fsdp" else not any(sharded), (parallel, name, sharded)
                spent = task.meter.gradients
                torch.save({"after": after, "gradients": spent}, folder / f"{parallel} {name} {ranks.rank}.pt")
            torch.save(nearness(task_of(llama(), ranks)), folder / f"{parallel} nearness {ranks.rank}.pt")
            torch.save(stopped_and_resumed(ranks), folder / f"{parallel} resumed {ranks.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
    os._exit(0)  # nothing is left to do, and gloo's threads take their time
