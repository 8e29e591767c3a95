"""Steps of two kinds: against hand steps, with the balance that was asked for, and saved to the bit."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from ofmu.core.vector import Vector
from ofmu.engine.optimiser import TwoSided
from ofmu.errors import InputError

B1, B2, EPS = 0.9, 0.99, 1e-8


def weights(*values: float) -> dict[str, Tensor]:
    return {"x": torch.tensor(values, dtype=torch.float64)}


def vector(*values: float) -> Vector:
    return Vector(weights(*values))


def test_sgd_is_plain_steps() -> None:
    held = weights(1.0, -2.0)
    steps = TwoSided(held, kind="sgd")
    steps.ascend(vector(3.0, 1.0), 0.1, 0.2, share=0.5)
    steps.ascend(vector(-1.0, 1.0), 0.1, 0.2, share=0.5)
    assert held["x"].tolist() == pytest.approx([1 + 0.01 * 2, -2 + 0.01 * 2])
    steps.descend(vector(4.0, -2.0), 0.1)
    assert held["x"].tolist() == pytest.approx([1.02 - 0.4, -1.98 + 0.2])
    assert steps.state_dict() == {}


@pytest.mark.parametrize("states", ["one", "two"])
def test_adam_against_scalars_by_hand(states: str) -> None:
    """Two inner steps a round, three rounds, one weight."""
    held, theta = weights(0.3), 0.3
    steps = TwoSided(held, states=states)
    lr, weight = 0.01, 0.4
    m = {"w": 0.0, "g": 0.0}
    v = {"w": 0.0, "g": 0.0, "both": 0.0}
    ascents = 0
    for k, (w1, w2, g) in enumerate([(2.0, -1.0, 0.5), (-0.3, -0.2, 1.5), (1.0, 1.0, -2.0)], start=1):
        squares = []
        for w in (w1, w2):
            ascents += 1
            steps.ascend(vector(w), lr, weight, share=0.5)
            m["w"] = B1 * m["w"] + (1 - B1) * w
            squares.append((weight * w) ** 2)
            if states == "one":
                second = B2 * v["both"] + (1 - B2) * sum(squares) / 2
                gathered = B2 * (1 - B2 ** (k - 1)) + (1 - B2) * len(squares) / 2
            else:
                v["w"] = second = B2 * v["w"] + (1 - B2) * w * w
                gathered = 1 - B2**ascents
            scale = math.sqrt(second / gathered) + EPS
            theta += lr * weight * 0.5 * (m["w"] / (1 - B1**ascents)) / scale
        steps.descend(vector(g), lr)
        m["g"] = B1 * m["g"] + (1 - B1) * g
        name, square = ("both", g * g + sum(squares) / 2) if states == "one" else ("g", g * g)
        v[name] = B2 * v[name] + (1 - B2) * square
        theta -= lr * (m["g"] / (1 - B1**k)) / (math.sqrt(v[name] / (1 - B2**k)) + EPS)
        assert held["x"].item() == pytest.approx(theta, rel=1e-12)


@pytest.mark.parametrize("inner", [1, 4])
@pytest.mark.parametrize(("w", "g"), [(1.0, 1.0), (5.0, -1.0), (0.01, 1.0), (1.0, 0.2)])
def test_the_ratio_of_the_two_displacements_is_the_balance(w: float, g: float, inner: int) -> None:
    """Under constant gradients up/down = λ w/g, as with plain steps: also where λw = g, where they cancel."""
    weight, rounds = 0.2, 600
    held = weights(0.0)
    steps = TwoSided(held)
    up = down = 0.0
    for number in range(rounds):
        before = held["x"].item()
        for _ in range(inner):
            steps.ascend(vector(w), 1e-3, weight, share=1 / inner)
        middle = held["x"].item()
        steps.descend(vector(g), 1e-3)
        if number >= rounds // 2:  # the shared preconditioner has settled
            up, down = up + middle - before, down + middle - held["x"].item()
    assert up / down == pytest.approx(weight * w / g, rel=0.02)


def test_no_weight_moves_much_further_than_the_step_size_however_its_gradients_cancel() -> None:
    draw = torch.Generator().manual_seed(0)
    held = {"x": torch.zeros(20000, dtype=torch.float64)}
    steps = TwoSided(held)
    for _ in range(5):
        for _ in range(3):
            steps.ascend(Vector(x=torch.randn(20000, generator=draw, dtype=torch.float64)), 1e-3, 1.0, share=1 / 3)
        before = held["x"].clone()
        steps.descend(Vector(x=torch.randn(20000, generator=draw, dtype=torch.float64)), 1e-3)
        assert float((held["x"] - before).abs().max()) < 3e-3


def test_signs_move_every_weight_alike() -> None:
    held = weights(1.0, -2.0, 0.5)
    steps = TwoSided(held, kind="sign")
    steps.ascend(vector(3.0, -1e-9, 0.0), 0.1, 0.2, share=0.5)
    assert held["x"].tolist() == pytest.approx([1.01, -2.01, 0.5])
    steps.descend(vector(4.0, -2.0, 0.1), 0.1)
    assert held["x"].tolist() == pytest.approx([0.91, -1.91, 0.4])


@pytest.mark.parametrize("name", ["RMSprop", "Adagrad", "NAdam"])
def test_an_optimiser_of_torch_on_each_side_is_that_optimiser(name: str) -> None:
    """Ascents alone are its steps on the negated gradient, descents alone its steps: neither side sees the other."""
    draw = torch.Generator().manual_seed(0)
    directions = [torch.randn(6, generator=draw) for _ in range(8)]
    both = {"x": torch.zeros(6)}
    steps = TwoSided(both, kind=name, states="two")
    for up, down in zip(directions[::2], directions[1::2]):
        steps.ascend(Vector(x=up), 0.1, 0.5)
        steps.descend(Vector(x=down), 0.1)
    total = torch.zeros(6)
    for sign, lr, some in ((-1.0, 0.05, directions[::2]), (1.0, 0.1, directions[1::2])):
        alone = torch.zeros(6, requires_grad=True)
        optimiser = getattr(torch.optim, name)([alone], lr=lr)
        for d in some:
            alone.grad = sign * d
            optimiser.step()
        total += alone.detach()
    assert torch.allclose(both["x"], total, rtol=1e-5)
    assert torch.equal(directions[0], torch.randn(6, generator=torch.Generator().manual_seed(0)))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="optimiser RMSprop keeps a state for each side: give optimiser_states two"):
        TwoSided(weights(1.0), kind="RMSprop")
    for name in ("LBFGS", "SparseAdam", "rmsprob"):
        with pytest.raises(InputError, match=f"optimiser.*{name}"):
            TwoSided(weights(1.0), kind=name, states="two")


@pytest.mark.parametrize(
    ("kind", "states"),
    [("adamw", "one"), ("adamw", "two"), ("sgd", "one"), ("sign", "one"), ("RMSprop", "two"), ("Adam", "two")],
)
def test_a_saved_state_goes_on_to_the_bit(kind: str, states: str) -> None:
    draw = torch.Generator().manual_seed(0)
    directions = [Vector(x=torch.randn(5, generator=draw)) for _ in range(12)]

    def rounds(steps: TwoSided, some: list[Vector]) -> None:
        for up, down in zip(some[::2], some[1::2]):
            steps.ascend(up, 0.1, 0.3)
            steps.descend(down, 0.1)

    one = {"x": torch.ones(5)}
    steps = TwoSided(one, kind=kind, states=states)
    rounds(steps, directions[:6])
    held, other = copy.deepcopy(steps.state_dict()), {"x": one["x"].clone()}
    rounds(steps, directions[6:])
    again = TwoSided(other, kind=kind, states=states)
    again.load_state_dict(held)
    rounds(again, directions[6:])
    assert torch.equal(one["x"], other["x"])
