"""A round of the engine on full batches is a round of :func:`ofmu.core.solve`."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch.nn.functional import cross_entropy

from ofmu.core import Problem, SolveOptions, solve
from ofmu.engine.objective import Objective
from ofmu.engine.processes import Processes, processes
from ofmu.methods.ofmu import OFMU
from smooth import smooth
from tasks import make_task, sets


@pytest.fixture
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


@pytest.mark.parametrize("scale", ["raw", "relative"])
@pytest.mark.parametrize("similarity", ["cosine", "squared_hinge"])
def test_rounds_are_those_of_solve(similarity: str, scale: str, ranks: Processes) -> None:
    """T = 2, ρ > 0: β is found at the first inner step, and held to the outer step, in both."""
    model = smooth()
    other = copy.deepcopy(model)
    shared = {"beta": 0.4, "rho": 0.2, "similarity": similarity, "lambda_eff": 0.5, "scale": scale, "guard": True}
    shared |= {"derivatives": "exact", "inner_steps": 2}
    method = OFMU(**shared, preset="paper", objective=Objective(name="nll"), margin=0.0, rho_growth=1.0, rho_cap=True)
    task = make_task(model, ranks, modality="image", method=method, learning_rate=0.2, batch_size=9, part_size=9)
    process = method.start(task)

    parameters = dict(other.named_parameters())
    batches = {name: found.batch(range(len(found))) for name, found in sets("image").items()}
    forget, retain = (
        lambda batch=batches[name]: cross_entropy(other(batch.pixel_values), batch.labels)
        for name in ("forget", "retain")
    )
    for _ in range(3):
        epsilon_of = process.state_dict()["scale"] if scale == "relative" else None
        options = SolveOptions(**shared, rounds=1, outer_lr=task.pace.now(), reference_scale=epsilon_of)
        (expected,) = solve(Problem(parameters, forget, retain), options)
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        found = process.step()
        task.pace.step += 1
        assert found.more["beta"] == pytest.approx(expected.beta, rel=1e-9)
        assert found.more["rho"] == pytest.approx(expected.rho, rel=1e-9)
        assert expected.rho > 0
        for name, value in model.named_parameters():
            assert not torch.equal(value, before[name])
            torch.testing.assert_close(value, parameters[name], rtol=1e-9, atol=1e-12)
