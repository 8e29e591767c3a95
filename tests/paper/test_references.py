"""The references are independent, and y is (11) with its third-derivative tensors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from ofmu.core import Penalty, Phi, Problem, outer
from reference.dense import Toy, error, gradient
from reference.third_order import Cosine

REFERENCE = Path(__file__).parents[1] / "reference"
BETA = 0.5


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.py")), ids=lambda path: path.stem)
def test_a_reference_takes_nothing_from_the_package(path: Path) -> None:
    assert not re.search(r"^\s*(from|import) ofmu", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("seed", [2, 5, 8])
def test_y_is_eleven_with_its_third_derivative_tensors(seed: int) -> None:
    toy = Toy(seed=seed)
    p = toy.leaves()
    dense = Cosine(*toy.flat_losses(), BETA, toy.theta)
    found = outer(Problem(p, lambda: toy.forget(p), lambda: toy.retain(p)), Phi(beta=BETA), "exact", Penalty(rho=0.5))
    assert found.inner is not None
    assert found.penalty is not None
    assert error(found.inner.gradient, dense.w) < 1e-12
    assert error(found.penalty, dense.y()) < 1e-12
    # what is left out if third derivatives are, and if all but H_f w is: errors that no test of 1e-12 would miss
    without = error(dense.y(third=False), dense.y())
    assert 0.05 < without < error(dense.y(third=False, second=False), dense.y())


@pytest.mark.parametrize("seed", [2, 5])
def test_to_first_order_ascent_raises_the_retain_loss_by_abc_and_nabla_phi_is_not_orthogonal_to_it(seed: int) -> None:
    """(12): a step +ηg_f changes L_r by η·abc, −ηg_r changes L_f by −η·abc. (13): ⟨∇Φ, g_r⟩ = abc − β⟨D, g_r⟩."""
    toy, eta = Toy(seed=seed), 1e-6
    at = Cosine(*toy.flat_losses(), BETA, toy.theta)
    abc = float(at.a * at.b * at.c)

    def change(f: object, step: torch.Tensor) -> float:
        return float(f(toy.theta + step) - f(toy.theta - step)) / 2  # type: ignore[operator]

    assert change(at.retain, eta * at.g_f) == pytest.approx(eta * abc, rel=1e-6)
    assert change(at.forget, -eta * at.g_r) == pytest.approx(-eta * abc, rel=1e-6)
    p = toy.leaves()
    w = outer(Problem(p, lambda: toy.forget(p), lambda: toy.retain(p)), Phi(beta=BETA), "exact", Penalty(rho=0.5)).inner
    assert w is not None
    along = float(w.gradient.dot(w.g_r))
    assert along == pytest.approx(abc - BETA * float(at.D @ at.g_r), rel=1e-10)
    assert abs(along) > 1e-3 * float(at.w.norm() * at.b), "orthogonal would be a surprise"


@pytest.mark.parametrize("guard", [False, True])
def test_a_penalty_step_changes_phi_by_kappa_to_first_order(guard: bool) -> None:
    """(40): δΦ = −2ρη κ‖w‖², and, guarded (43), nothing where κ > 0."""
    toy, eta = Toy(seed=2), 1e-7
    p = toy.leaves()
    forget, retain = toy.flat_losses()
    problem = Problem(p, lambda: toy.forget(p), lambda: toy.retain(p))
    found = outer(problem, Phi(beta=BETA), "exact", Penalty(rho=0.5, guard=guard))
    assert found.inner is not None
    assert found.penalty is not None
    assert found.kappa is not None
    assert found.kappa > 0

    def Phi_at(theta: torch.Tensor) -> float:
        g_f, g_r = (gradient(f, theta) for f in (forget, retain))
        return float(forget(theta) - BETA * g_f @ g_r / (g_f.norm() * g_r.norm()))

    step = torch.cat([x.flatten() for x in found.penalty.values()])
    changed = (Phi_at(toy.theta - eta * step) - Phi_at(toy.theta + eta * step)) / 2
    square = float(found.inner.gradient.dot(found.inner.gradient))
    expected = -2 * 0.5 * eta * found.kappa * square
    assert changed == pytest.approx(0.0 if guard else expected, rel=1e-5, abs=1e-6 * abs(expected))


def test_a_large_rho_does_not_enforce_stationarity_where_phi_is_flat() -> None:
    """(37): of the likelihood of a margin z, ℓ'ℓ'' → 0 far out while ℓ' → −1: ‖∇²Φ w‖ is small and ‖w‖ is not.

    L_r pulls z down with a force of 1: at the place where F is stationary at ρ, ‖w‖ → 1 as ρ grows.
    """
    norms, curved = [], []
    for rho in (1e2, 1e4, 1e6):
        # F = z + ρ ℓ'(z)²; stationary where 1 + 2ρ ℓ' ℓ'' = 0: on the far side z < 0, by bisection
        low, high = -60.0, -2.0

        def slope(z: float, rho: float = rho) -> float:
            x = torch.tensor([z], dtype=torch.float64, requires_grad=True)
            problem = Problem({"z": x}, lambda: torch.nn.functional.softplus(-x).sum(), lambda: x.sum())
            found = outer(problem, Phi(beta=0.0), "exact", Penalty(rho=rho))
            return float(found.gradient["z"])

        assert slope(low) > 0 > slope(high)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) > 0 else (low, middle)
        sigma = float(torch.sigmoid(torch.tensor(-low, dtype=torch.float64)))
        norms.append(sigma)  # ‖w‖ = |ℓ'|
        curved.append(sigma**2 * (1 - sigma))
    assert norms[0] < norms[1] < norms[2]
    assert norms[2] > 1 - 1e-5
    assert curved == pytest.approx([1 / (2 * rho) for rho in (1e2, 1e4, 1e6)], rel=1e-6)  # G_r/(2ρ), G_r = 1
