"""The problems have the solutions they claim; the studies run, and find what is known of them."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from markupsafe import Markup
from torch import Tensor
from torch.autograd.functional import hessian

from ofmu.benchmarks import convergence, convergence_dynamics, coupling, drawings
from ofmu.benchmarks.convergence_course import PLAIN, course, powers, slope
from ofmu.benchmarks.convergence_problems import Flat, Known, logistic, network, quadratic
from ofmu.benchmarks.convergence_rates import without_inner_loop
from ofmu.core import SolveOptions
from ofmu.errors import InputError, RunError


def gradient_of(loss: Flat, theta: Tensor) -> Tensor:
    theta = theta.clone().requires_grad_()
    return torch.autograd.grad(loss(theta), theta)[0]


@pytest.fixture(scope="module", params=["strong", "flat", "logistic"])
def known(request: pytest.FixtureRequest) -> Known:
    return logistic() if request.param == "logistic" else quadratic(flat=request.param == "flat")


def test_the_solution_meets_the_conditions_of_the_bilevel_problem(known: Known):
    """∇Φ = 0, Φ is at its maximum, and ∇L_r lies in the range of ∇²Φ: no feasible direction lowers L_r."""
    assert known.solution is not None
    gradient = gradient_of(known.forget, known.solution)
    assert float(gradient.norm()) < 1e-10
    assert float(known.forget(known.solution)) == pytest.approx(known.highest, abs=1e-12)
    curvature = hessian(known.forget, known.solution)
    down = gradient_of(known.retain, known.solution)
    values, vectors = torch.linalg.eigh(curvature)
    free = vectors[:, values.abs() < 1e-9]
    feasible = free.T @ down
    if known.name.startswith("logistic"):  # what is the same for all classes moves no answer, only ‖W‖ in L_r
        assert free.shape[1] > 400
    assert float(feasible.norm()) < 1e-9
    assert float(values[-1]) < 1e-9


def test_smoothness_is_not_exceeded_near_the_path(known: Known):
    for share in (0.0, 0.5):
        assert known.solution is not None
        place = known.start + share * (known.solution - known.start)
        for loss, bound in ((known.forget, known.phi_smoothness), (known.retain, known.retain_smoothness)):
            assert float(torch.linalg.matrix_norm(hessian(loss, place), 2)) <= bound + 1e-9


def test_noise_has_the_size_it_is_told_and_no_mean():
    known = quadratic(flat=True)
    problem, theta = known.problem(sigma=0.3, seed=1)
    assert callable(problem.forget)
    (clean,) = torch.autograd.grad(known.forget(theta), theta)
    drawn = torch.stack([torch.autograd.grad(problem.forget(), theta)[0] - clean for _ in range(1000)])
    assert float((drawn**2).sum(dim=1).mean()) == pytest.approx(0.09, rel=0.08)
    assert float(drawn.mean(dim=0).norm()) < 0.03


def test_a_course_measures_what_a_run_did():
    known = quadratic(flat=True)
    options = SolveOptions(rounds=6, inner_steps=1, outer_lr=0.1, lambda_eff=0.0, rho=0.0, **PLAIN)
    points = course(known, options)
    assert [point.rounds for point in points] == powers(6) == [1, 2, 4, 6]
    theta = known.start.clone()
    way = 0.0
    for _ in range(6):
        step = 0.1 * gradient_of(known.retain, theta)
        theta, way = theta - step, way + float(step.norm())
    end = points[-1]
    assert known.solution is not None
    assert end.distance == pytest.approx(float((theta - known.solution).norm()))
    assert end.retain_loss == pytest.approx(float(known.retain(theta)))
    assert end.travelled == pytest.approx(way)
    assert [point.gradients for point in course(known, options, budget=7)][-1] == 9  # three a round: the third ends it


def test_exponents_of_what_is_no_power_are_left_out():
    assert slope([1, 2], [0.0, 1.0]) is None
    assert slope([2, 2], [1.0, 3.0]) is None


def test_the_thresholds_turn_where_the_page_says():
    for row in convergence_dynamics.thresholds():
        assert row["relative difference"] < 0.01


def test_descent_on_f_alone_is_under_its_bound_and_far_below_the_constant_floor():
    row, points = without_inner_loop(quadratic(flat=False), 128)
    assert row["largest share of bound (34)"] <= 1
    assert row["least ‖∇F‖²"] < row["floor 2G_r² of (36)"] / 1000
    assert points[-1].distance is not None
    assert points[-1].distance > 1, "at fixed ρ the stationary point of F is not the bi-level solution"


def test_all_studies_run_and_keep_tables_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(convergence, "RATES", (0.4, 0.2))
    folder = tmp_path / "out"
    found = convergence.run(convergence.Options(rounds=8, inner_steps=2, budget=20, output=str(folder)))
    assert all(rows for rows in found["tables"].values())
    assert len(found["tables"]) == 8
    assert {path.name for path in folder.iterdir()} == set(found["files"])
    for name in found["files"]:
        if name.endswith(".svg"):
            tree = ET.parse(folder / name)
            assert tree.getroot().tag == "{http://www.w3.org/2000/svg}svg"
            assert len((folder / name).read_bytes()) < 20_000
    with pytest.raises(InputError, match="give a folder"):
        convergence.run(convergence.Options(output=str(folder / "tables.md")))


def test_a_tone_without_a_colour_is_an_error(tmp_path: Path):
    with pytest.raises(RunError, match="odd"):
        drawings.write(Markup('<svg class="c-odd"></svg>'), tmp_path / "x.svg")


def test_coupling_stops_at_the_level_of_a_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coupling, "STEP", 0.3)
    quick = {**coupling.SHARED, "outer_lr": 0.3}
    monkeypatch.setitem(coupling.METHODS, "grad_diff", {**quick, "beta": 0.0, "rho": 0.0})
    monkeypatch.setitem(coupling.METHODS, "ofmu", quick)
    found = coupling.run(coupling.Options(images=4, seeds=1, most=10, output=str(tmp_path / "c.json")))
    rows = {row["method"]: row for row in found["tables"]["difficulty and cost"]}
    assert set(rows) == {"grad_ascent", "grad_diff", "ofmu"}
    assert rows["grad_ascent"]["not forgotten"] == 0
    assert rows["grad_ascent"]["mean rise of L_r"] > 0
    assert -1 <= rows["ofmu"]["rank correlation"] <= 1
    assert rows["grad_ascent"]["gradients an image"] < rows["ofmu"]["gradients an image"]


def test_the_network_is_trained_on_both_sides():
    known = network()
    assert float(known.forget(known.start)) < -math.log(10) - 1
    assert float(known.retain(known.start)) < 1
