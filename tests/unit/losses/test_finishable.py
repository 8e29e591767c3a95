"""The forget losses that end or fade: hand-worked values, gradient identities, and levels for tokens."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ofmu.engine.levels import Levels, deal_tokens
from ofmu.losses import Rows, by_rank, clip, in_place, level, nll, token_level, token_probability, uniform

EXAMPLE = torch.tensor([0, 0, 0, 2, 2, 1])
"""Rows of three examples with 3, 1 and 2 scored positions, out of order."""
LABELS = torch.tensor([3, 0, 10, 7, 7, 1])


def rows(logits: Tensor) -> Rows:
    return Rows(logits, LABELS, EXAMPLE, ("a", "b", "c"))


def draw() -> Tensor:
    return torch.randn(6, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2


def slope(loss: Callable[[Rows], Tensor], logits: Tensor) -> Tensor:
    z = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(rows(z)).sum(), z)[0]


def test_values_by_hand() -> None:
    z = draw()
    losses = [math.log(sum(math.exp(v) for v in row)) - row[label] for row, label in zip(z.tolist(), LABELS.tolist())]
    means = [sum(losses[:3]) / 3, losses[5], (losses[3] + losses[4]) / 2]
    close = lambda found, wanted: torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))  # noqa: E731
    close(clip(rows(z), torch.full((3,), 2.0)), [math.log1p(math.exp(2 - mean)) for mean in means])
    close(token_probability(rows(z), "examples"), [math.exp(-mean) for mean in means])
    p = [math.exp(-loss) for loss in losses]
    close(token_probability(rows(z)), [sum(p[:3]), p[5], p[3] + p[4]])
    spread = [math.log(sum(math.exp(v) for v in row)) - sum(row) / 11 - math.log(11) for row in z.tolist()]
    close(uniform(rows(z)), [sum(spread[:3]), spread[5], spread[3] + spread[4]])
    distance = [abs(loss - 1.5) for loss in losses]
    huber = [d * d / 2 if d <= 0.7 else 0.7 * (d - 0.35) for d in distance]
    found = token_level(rows(z), torch.full((6,), 1.5), 0.7)
    close(found, [sum(huber[:3]) / 3, huber[5], (huber[3] + huber[4]) / 2])


def test_gradients_are_those_of_ascent_weighted() -> None:
    z = draw()
    weight = rows(z).log_probabilities().exp()
    of_token = slope(nll, z)  # one row is one token: row r holds ∇ℓ_r
    torch.testing.assert_close(slope(token_probability, z), -weight[:, None] * of_token)
    ceilings = torch.tensor([2.0, 4.0, 1.0], dtype=torch.float64)
    share = torch.sigmoid(ceilings - rows(z).nll_means()) / rows(z).counts()
    torch.testing.assert_close(slope(lambda r: clip(r, ceilings), z), -share[EXAMPLE][:, None] * of_token)
    assert slope(lambda r: clip(r, ceilings - 500), z).abs().max() < 1e-100  # far above: no push


def test_uniform_ends_where_nothing_is_preferred() -> None:
    even = torch.full((6, 11), 3.0, dtype=torch.float64)
    assert uniform(rows(even)).abs().max() < 1e-12
    assert slope(uniform, even).abs().max() < 1e-12
    assert uniform(rows(draw())).min() > 0


@pytest.mark.parametrize("of", ["examples", "tokens"])
def test_one_sided_levels_call_nothing_back(of: str) -> None:
    z = draw()
    own = (rows(z).nll_means() if of == "examples" else -rows(z).log_probabilities()).detach()
    loss = level if of == "examples" else token_level
    for moved in (2.0, -2.0):
        one, two = (slope(lambda r, s=sides, d=moved: loss(r, own + d, 1.0, s), z) for sides in ("one", "two"))
        assert torch.equal(one, two) if moved > 0 else one.abs().max() == 0 < two.abs().max()


def test_a_mean_at_its_level_hides_what_token_levels_see() -> None:
    z = draw()
    losses = -rows(z).log_probabilities().detach()
    mean = rows(z).nll_means().detach()
    assert level(rows(z), mean, 1.0).max() == 0
    assert token_level(rows(z), mean[EXAMPLE], 1.0)[[0, 2]].min() > 0
    assert token_level(rows(z), losses, 1.0).max() == 0


def test_values_go_to_the_rows_they_belong_to() -> None:
    z = draw()
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # three of example 0, one of 1, two of 2
    assert in_place(rows(z), values).tolist() == [1, 2, 3, 5, 6, 4]
    dealt = by_rank(rows(z), values)
    losses = -rows(z).log_probabilities()
    assert dealt[losses[:3].argsort()].tolist() == [1, 2, 3]
    assert dealt[3:5][losses[3:5].argsort()].tolist() == [5, 6]
    assert dealt[5] == 4
    assert rows(z).padded(values, 4).tolist() == [[1, 2, 3, 0], [6, 0, 0, 0], [4, 5, 0, 0]]


def test_token_levels_have_the_pairs_quantiles_and_keep_the_order() -> None:
    unseen = [np.array([9.0, 1.0, 5.0, 0.0]), np.array([2.0, 0.5])]  # means 3.75 and 1.25
    hard, easy = deal_tokens([np.array([0.3, 0.1, 0.2, 0.4]), np.array([0.02, 0.01, 0.03, 0.04])], unseen)
    assert hard.tolist() == [5, 0, 1, 9]
    assert easy == pytest.approx([0.875, 0.5, 1.625, 2.0])  # Hazen's quantiles 3/8, 1/8, 5/8, 7/8 of two values
    assert [x.tolist() for x in deal_tokens([np.array([0.1])], unseen[1:], shift=-3.0)] == [[0.0]]
    levels = Levels({"a": 3.75, "b": 1.0}, "holdout", {"a": hard, "b": easy})
    assert levels.of_tokens(("b", "a"), ascending=True)[4:].tolist() == [0, 1, 5, 9]
    assert levels.of_tokens(("a",), ascending=False).tolist() == hard.tolist()


def test_dealt_to_like_lengths_the_levels_are_the_unseen_losses_themselves() -> None:
    rng = np.random.default_rng(0)
    unseen = [rng.exponential(3, 7) for _ in range(20)]
    dealt = deal_tokens([rng.random(7) for _ in range(20)], unseen)
    assert np.sort(np.concatenate(dealt)) == pytest.approx(np.sort(np.concatenate(unseen)))
