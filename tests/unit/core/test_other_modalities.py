"""Nothing in the core assumes tokens or images: sounds, and pairs of a sound and a word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ofmu.core import Penalty, Phi, Problem, SolveOptions, Vector, outer, solve

PITCHES = (2.0, 3.0, 5.0, 8.0)


def sounds(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tones of four pitches at random phases with noise, (B, 1, 64), and their pitch."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % len(PITCHES)
    time = torch.linspace(0, 2 * torch.pi, 64, dtype=torch.float64)
    phase = torch.rand(count, 1, generator=g, dtype=torch.float64) * 2 * torch.pi
    tones = (torch.tensor(PITCHES, dtype=torch.float64)[y][:, None] * time + phase).sin()
    return (tones + 0.3 * torch.randn(count, 64, generator=g, dtype=torch.float64))[:, None], y


class Ear(nn.Module):
    """Convolution over time, energy of each channel, classes."""

    def __init__(self) -> None:
        super().__init__()
        self.filters, self.head = nn.Conv1d(1, 6, 15, padding=7), nn.Linear(6, 4)

    def features(self, x: Tensor) -> Tensor:
        return (self.filters(x).square().mean(2) + 1e-2).log()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class EarAndWord(Ear):
    """Does the word name the pitch? Two modalities, one output."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.match = nn.Embedding(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor, word: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.match((self.features(x) * self.words(word)).tanh())


def of_sounds() -> tuple[nn.Module, Callable[[slice], Tensor]]:
    """A classifier of sounds, and its loss on some of them; eight have wrong labels, the first eight."""
    torch.manual_seed(0)
    model = Ear().double()
    x, y = sounds(40, seed=1)
    y[:8] = (y[:8] + 1) % 4
    return model, lambda rows: cross_entropy(model(x[rows]), y[rows])


def of_pairs() -> tuple[nn.Module, Callable[[slice], Tensor]]:
    """Sound and word together; the first eight pairs are judged wrongly."""
    torch.manual_seed(0)
    model = EarAndWord().double()
    x, pitch = sounds(40, seed=2)
    word = (pitch + torch.arange(40) % 2) % 4
    fits = (word == pitch).long()
    fits[:8] = 1 - fits[:8]
    return model, lambda rows: cross_entropy(model(x[rows], word[rows]), fits[rows])


FORGET, RETAIN = slice(0, 8), slice(8, 40)
kinds = pytest.mark.parametrize("kind", [of_sounds, of_pairs])


def memorised(kind: Callable[[], tuple[nn.Module, Callable[[slice], Tensor]]]) -> Problem:
    model, loss = kind()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        (loss(FORGET) + loss(RETAIN)).backward()
        optimiser.step()
    optimiser.zero_grad()
    return Problem.of(model, lambda: -(loss(FORGET) - 2.0).square() / 2, lambda: loss(RETAIN))


@kinds
def test_differences_agree_with_exact_derivatives(kind: Callable[[], tuple[nn.Module, Callable[[slice], Tensor]]]):
    problem = memorised(kind)
    phi, penalty = Phi(beta=0.3, scale="relative"), Penalty(rho=0.3)
    exact, central = (outer(problem, phi, name, penalty).gradient for name in ("exact", "central"))
    assert float((exact - central).norm() / exact.norm()) < 1e-4


@kinds
def test_a_run_forgets_to_the_level_and_keeps_the_rest(
    kind: Callable[[], tuple[nn.Module, Callable[[slice], Tensor]]],
):
    problem = memorised(kind)
    assert callable(problem.retain)
    assert callable(problem.forget)
    distance, kept = -float(problem.forget().detach()), float(problem.retain().detach())
    options = SolveOptions(rounds=40, inner_steps=2, outer_lr=0.05, lambda_eff=0.5, rho=0.1)
    assert len(list(solve(problem, options))) == 40
    assert -float(problem.forget().detach()) < distance / 10
    assert float(problem.retain().detach()) < kept + 0.2
    assert Vector(problem.parameters).detach().is_finite()
