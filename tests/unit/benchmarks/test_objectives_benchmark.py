"""Where objectives turn concave: κ by dense Hessians, the search for its change of sign, and the page's table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch.autograd.functional import hessian

from ofmu.benchmarks.memorised import Memorised, mlp, objectives
from ofmu.benchmarks.objectives import RUNNING, Options, run
from ofmu.core import Penalty, Phi, Problem, outer
from ofmu.losses import Rows

ROOT = Path(__file__).parents[3]
OF_MLP = ["nll", "npo", "simnpo", "clip", "token_probability", "uniform", "level", "level, one-sided"]


@pytest.fixture(scope="module")
def toy() -> Memorised:
    return mlp(0)


@pytest.mark.parametrize("name", OF_MLP)
def test_kappa_of_every_objective_is_that_of_the_dense_hessian(name: str, toy: Memorised):
    """On the last layer alone, so that the Hessian is small.

    There the likelihood is convex and KL(U‖p) too, so that L_f = −F is concave for `uniform`; all others begin convex.
    """
    toy.reset()
    objective = objectives(toy, 2.0)[name]
    parameters = {key: p for key, p in toy.parameters.items() if key.startswith("2.")}
    for key, p in toy.parameters.items():
        p.requires_grad_(key in parameters)
    try:
        problem = Problem(parameters, lambda: -objective(toy.rows()), toy.retain)
        found = outer(problem, Phi(beta=0.0), "exact", Penalty(rho=1.0)).kappa
    finally:
        for p in toy.parameters.values():
            p.requires_grad_(True)

    captured: list[torch.Tensor] = []
    last = toy.model[2]  # pyright: ignore[reportIndexIssue]
    handle = last.register_forward_hook(lambda _m, i, _out: captured.append(i[0].detach()))
    rows = toy.rows()
    handle.remove()
    (z,) = captured
    weight, bias = (toy.parameters[f"2.{key}"].detach() for key in ("weight", "bias"))

    def L_f(theta: torch.Tensor) -> torch.Tensor:
        W, b = theta[: weight.numel()].view_as(weight), theta[weight.numel() :]
        return -objective(Rows(z @ W.T + b, rows.labels, rows.example, rows.ids))

    theta = torch.cat([weight.flatten(), bias])
    (w,) = torch.autograd.grad(L_f(at := theta.clone().requires_grad_()), at)
    kappa = float(w @ hessian(L_f, theta) @ w / (w @ w))
    assert found == pytest.approx(kappa, rel=1e-9)
    assert (kappa > 0) == (name != "uniform")


def test_the_search_stops_where_kappa_has_been_negative_for_some_steps():
    result = run(Options(models=("mlp",), seeds=1, steps=40))
    by_name = {one["objective"]: one for one in result["runs"]}
    assert list(by_name) == OF_MLP
    turned = by_name["uniform"]
    assert turned["start"] < turned["turns_at"] < turned["highest"]
    assert RUNNING <= turned["steps"] < 40
    assert by_name["nll"]["turns_at"] is None
    assert by_name["nll"]["steps"] == 40
    rows = {row["objective"]: row for row in result["tables"]["Where κ turns negative"]}
    assert (rows["uniform"]["turned"], rows["uniform"]["of"], rows["uniform"]["convex at the start"]) == (1, 1, 1)
    assert rows["uniform"]["turns from"] == rows["uniform"]["turns to"] == turned["turns_at"]
    assert rows["nll"]["highest without a turn"] == by_name["nll"]["highest"]


def test_the_page_has_the_figures_of_the_result_file():
    """Each range of the table: lowest and highest forget loss at which κ turned; "–" where it was not tried."""
    runs = json.loads((ROOT / "benchmarks/results/objectives.json").read_text(encoding="utf-8"))["runs"]
    page = (ROOT / "docs/objectives.md").read_text(encoding="utf-8").partition("## Where each turns concave")[2]
    told = re.findall(r"^\| `(\w+)`(.*?) \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    seen: set[str] = set()
    for name, rest, *cells in told:
        full = name + next((f", {word}" for word in ("one-sided", "ranks of before") if word in rest), "")
        seen.add(full)
        for model, cell in zip(("mlp", "llama"), cells, strict=True):
            of = [one for one in runs if (one["model"], one["objective"]) == (model, full)]
            turns = [one["turns_at"] for one in of if one["turns_at"] is not None]
            if not of:
                assert cell == "–", full
            elif len(turns) == len(of):
                low, high = map(float, cell.split(" – "))
                assert (low, high) == pytest.approx((min(turns), max(turns)), abs=0.05), (full, model)
            elif turns:
                assert all(f"{turn:.1f}" in cell for turn in (min(turns), max(turns))), (full, model)
            else:
                assert "never" in cell, (full, model)
    assert seen == {one["objective"] for one in runs}
