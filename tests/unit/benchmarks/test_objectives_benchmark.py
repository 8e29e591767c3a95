"""Where objectives turn concave: κ by dense Hessians, the search for its change of sign, and the page's table."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch.autograd.functional import hessian

from ofmu.benchmarks.memorised import Memorised, classifier, clusters, mlp, objectives
from ofmu.benchmarks.objectives import RUNNING, Options, run
from ofmu.core import Penalty, Phi, Problem, outer
from ofmu.errors import InputError
from ofmu.losses import Rows

ROOT = Path(__file__).parents[3]
EVERYWHERE = ["nll", "npo", "simnpo", "clip", "token_probability", "uniform"]
OF_MLP = [*EVERYWHERE, "level", "level, one-sided"]
OF_CLUSTERS = [*EVERYWHERE, "removal"]


@pytest.fixture(scope="module")
def toys() -> dict[str, Memorised]:
    return {"mlp": mlp(0), "clusters": clusters(0)}


@pytest.mark.parametrize(("model", "name"), [*(("mlp", name) for name in OF_MLP), ("clusters", "removal")])
def test_kappa_of_every_objective_is_that_of_the_dense_hessian(model: str, name: str, toys: dict[str, Memorised]):
    """On the last layer alone, so that the Hessian is small.

    There the likelihood is convex and KL(U‖p) too, so that L_f = −F is concave for `uniform`; all others begin convex
    but `removal`, whose slope does not vanish where the data are known by heart.
    """
    toy = toys[model]
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
    assert (kappa > 0) == (name not in ("uniform", "removal"))


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


def test_a_class_is_removed_by_its_own_objective_and_levels_are_left_out():
    result = run(Options(models=("clusters",), seeds=1))
    by_name = {one["objective"]: one for one in result["runs"]}
    assert list(by_name) == OF_CLUSTERS
    assert by_name["removal"]["turns_at"] < 0.05 < by_name["clip"]["turns_at"]


@pytest.fixture(scope="module")
def resnet(data_dir: Path) -> dict[str, str]:
    return {
        "classifier": str(data_dir / "models/resnet20_cifar10"),
        "images": str(data_dir / "cifar10/train-00000-of-00001.parquet"),
    }


def test_kappa_of_removal_on_a_classifier_is_that_of_its_formula_and_negative_beyond_its_kinks(resnet: dict[str, str]):
    chosen = {"models": ("classifier",), "seeds": 1, "count": 16, "steps": 1, "objectives": ("removal",), **resnet}
    (found,) = run(Options(**chosen))["runs"]  # pyright: ignore[reportArgumentType]
    toy = classifier(resnet["classifier"], resnet["images"], removed=0, count=16)
    assert toy.rows().labels.tolist() == [0] * 16
    parameters = list(toy.parameters.values())

    def gradient(create_graph: bool = False) -> torch.Tensor:
        L_f = (toy.rows().logits.softmax(1)[:, 1:].sum(1).log() - math.log(0.9)).mean()
        return torch.cat([x.flatten() for x in torch.autograd.grad(L_f, parameters, create_graph=create_graph)])

    w = gradient(create_graph=True)
    Hw = torch.cat([x.flatten() for x in torch.autograd.grad(w @ w / 2, parameters)])
    kappa = (w @ Hw / (w @ w)).item()
    assert found["kappa_at_start"] == pytest.approx(kappa, rel=1e-6)
    assert kappa < 0
    assert found["turns_at"] is None  # one step is not ten

    w, step = w.detach(), 0.01
    e = w / w.norm()
    with torch.no_grad():
        for p, part in zip(parameters, e.split([p.numel() for p in parameters]), strict=True):
            p.add_(part.view_as(p), alpha=step)
    assert (gradient() - w) @ e / step < 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"models": ("classifier",)}, "go together: give all three or none"),
        ({"classifier": "folder", "images": "file"}, "go together: give all three or none"),
        ({"models": ("mlp",), "objectives": ("removal",)}, "unknown objective 'removal'"),
    ],
)
def test_what_cannot_be_followed_is_refused(options: dict[str, tuple[str, ...]], words: str):
    with pytest.raises(InputError, match=words):
        run(Options(**options))  # pyright: ignore[reportArgumentType]


def test_more_images_of_a_class_than_there_are_are_refused(resnet: dict[str, str]):
    with pytest.raises(InputError, match=r"1\d\d\d images of class 0 and \d+ of others, but count is 9999"):
        classifier(resnet["classifier"], resnet["images"], removed=0, count=9999)


TABLES = {"## Where each turns concave": ("mlp", "llama"), "### Whole classes": ("clusters", "classifier")}


@pytest.mark.parametrize("heading", TABLES)
def test_the_page_has_the_figures_of_the_result_files(heading: str):
    """Each range of a table: lowest and highest forget loss at which κ turned; "–" where it was not tried."""
    results = [ROOT / "benchmarks/results" / name for name in ("objectives.json", "objectives_resnet20.json")]
    runs = [one for path in results for one in json.loads(path.read_text(encoding="utf-8"))["runs"]]
    runs = [one for one in runs if one["model"] in TABLES[heading]]
    page = (ROOT / "docs/objectives.md").read_text(encoding="utf-8").partition(heading)[2].partition("\n##")[0]
    told = re.findall(r"^\| `(\w+)`(.*?) \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    seen: set[str] = set()
    for name, rest, *cells in told:
        full = name + next((f", {word}" for word in ("one-sided", "ranks of before") if word in rest), "")
        seen.add(full)
        for model, cell in zip(TABLES[heading], cells, strict=True):
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
