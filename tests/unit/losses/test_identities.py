"""Losses against slow loops in float64, hand values, and the identities that catch most mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ofmu.engine.forward import rows as scored
from ofmu.losses import Rows, kl, level, nll, npo, removal, simnpo
from tasks import texts
from toys import facts, llama, secrets

K = 11
EXAMPLE = torch.tensor([0, 0, 0, 2, 2, 1])
"""Rows of three examples with 3, 1 and 2 scored positions, out of order."""


def draw(seed: int = 0) -> Tensor:
    return torch.randn(6, K, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2


LABELS = torch.tensor([3, 0, 10, 7, 7, 1])


def rows(logits: Tensor, example: Tensor = EXAMPLE, labels: Tensor = LABELS) -> Rows:
    return Rows(logits, labels, example, ("a", "b", "c"))


def loop_sums(logits: Tensor) -> list[float]:
    """S_i, by hand."""
    sums = [0.0, 0.0, 0.0]
    for row, label, example in zip(logits.tolist(), LABELS.tolist(), EXAMPLE.tolist()):
        sums[example] += math.log(sum(math.exp(z) for z in row)) - row[label]
    return sums


def loop_means(logits: Tensor) -> list[float]:
    return [total / count for total, count in zip(loop_sums(logits), (3, 1, 2))]


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def loop_kl(logits: Tensor, reference: Tensor) -> list[float]:
    found = [0.0, 0.0, 0.0]
    for row, other, example in zip(logits.tolist(), reference.tolist(), EXAMPLE.tolist()):
        z, z0 = (math.log(sum(math.exp(v) for v in values)) for values in (row, other))
        found[example] += sum(math.exp(b - z0) * ((b - z0) - (a - z)) for a, b in zip(row, other))
    return found


def loop_removal(logits: Tensor, gone: set[int], chance: float) -> list[float]:
    found = [0.0, 0.0, 0.0]
    for row, example in zip(logits.tolist(), EXAMPLE.tolist()):
        total = sum(math.exp(z) for z in row)
        kept = sum(math.exp(z) for k, z in enumerate(row) if k not in gone) / total
        found[example] += max(0.0, math.log(1 - chance) - math.log(kept))
    return found


def huber(d: float, w: float) -> float:
    return d * d / 2 if abs(d) <= w else w * (abs(d) - w / 2)


REFERENCE = torch.tensor([5.0, 2.0, 1.0], dtype=torch.float64)
GONE = torch.arange(K) % 4 == 0


def test_every_loss_is_its_formula() -> None:
    z = draw()
    close = lambda found, by_hand: torch.testing.assert_close(found, torch.tensor(by_hand, dtype=torch.float64))  # noqa: E731
    close(nll(rows(z)), loop_sums(z))
    close(rows(z).nll_means(), loop_means(z))
    close(npo(rows(z), REFERENCE, 0.3), [2 / 0.3 * softplus(-0.3 * (s - r)) for s, r in zip(loop_sums(z), (5, 2, 1))])
    close(simnpo(rows(z), 2.5, 0.4), [2 / 2.5 * softplus(-2.5 * (a - 0.4)) for a in loop_means(z)])
    close(kl(rows(z), draw(1)), loop_kl(z, draw(1)))
    close(removal(rows(z), GONE, 0.2), loop_removal(z, {0, 4, 8}, 0.2))
    for width in (0.5, 2.0):
        wanted = [huber(a - target, width) for a, target in zip(loop_means(z), (5, 2, 1))]
        close(level(rows(z), REFERENCE, width), wanted)


def gradient(loss: Callable[[Rows], Tensor], logits: Tensor) -> Tensor:
    z = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(rows(z)).sum(), z)[0]


def test_npo_begins_as_ascent_and_becomes_it_as_beta_goes_to_zero() -> None:
    z = draw()
    start = nll(rows(z)).detach()
    for beta in (0.05, 1.0, 7.0):
        torch.testing.assert_close(gradient(lambda r, b=beta: npo(r, start, b), z), -gradient(nll, z))
    beta = 1e-6
    limit = 2 / beta * math.log(2) - (nll(rows(z)) - REFERENCE)
    torch.testing.assert_close(npo(rows(z), REFERENCE, beta), limit, rtol=0, atol=1e-4)
    torch.testing.assert_close(gradient(lambda r: npo(r, REFERENCE, beta), z), -gradient(nll, z), rtol=0, atol=1e-5)


def test_npo_fades_once_forgotten_and_simnpo_around_its_margin() -> None:
    z = draw()
    far = nll(rows(z)).detach() - 400.0  # the loss has risen by 400 nats
    assert gradient(lambda r: npo(r, far, 0.1), z).abs().max() < 1e-12
    pull = gradient(lambda r: simnpo(r, 4.5, 0.0), z).norm()
    assert gradient(lambda r: simnpo(r, 4.5, 10.0), z).norm() > pull


def test_kl_is_never_negative_and_zero_with_zero_gradient_where_nothing_changed() -> None:
    z = draw()
    assert (kl(rows(z), draw(1)) > 0).all()
    assert (kl(rows(z), z + 3.0).abs() < 1e-12).all()  # a shift of all logits changes no probability
    assert gradient(lambda r: kl(r, z), z).abs().max() < 1e-15


def test_a_level_is_an_end_and_removal_pushes_no_further_than_chance() -> None:
    z = draw()
    own = rows(z).nll_means().detach()
    assert level(rows(z), own, 1.0).tolist() == [0, 0, 0]
    assert gradient(lambda r: level(r, own, 1.0), z).abs().max() == 0
    below, above = (gradient(lambda r, d=d: level(r, own + d, 1.0), z) for d in (2.0, -2.0))
    torch.testing.assert_close(below, -above)  # two-sided
    even = torch.zeros(6, K, dtype=torch.float64)
    chance = float(GONE.double().mean())
    assert removal(rows(even), GONE, chance).abs().max() < 1e-12
    rare = even - 5.0 * GONE
    assert removal(rows(rare), GONE, chance).abs().max() == 0
    assert gradient(lambda r: removal(r, GONE, chance), rare).abs().max() == 0


LOSSES: dict[str, Callable[[Rows], Tensor]] = {
    "nll": nll,
    "npo": lambda r: npo(r, torch.arange(1.0, 1 + len(r.ids)).to(r.logits.dtype), 0.2),
    "simnpo": lambda r: simnpo(r, 4.5, 0.1),
    "level": lambda r: level(r, torch.full((len(r.ids),), 3.0), 1.0),
    "kl": lambda r: kl(r, r.logits.detach().roll(1, dims=1)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_padding_and_order_change_neither_loss_nor_gradient(name: str) -> None:
    """More padding on the right, and another order of the examples, on a model in float64."""
    model = llama().double()
    data = texts([*secrets()[:2], *facts(range(2))])

    def evaluate(indices: list[int], extra: int = 0) -> tuple[Tensor, list[Tensor]]:
        batch = data.batch(indices)
        if extra:
            padded = {
                field: torch.nn.functional.pad(getattr(batch, field), (0, extra), value=value)
                for field, value in (("input_ids", 7), ("attention_mask", 0), ("labels", -100), ("content", False))
            }
            batch = type(batch)(batch.ids, **padded, weight=batch.weight)
        values = LOSSES[name](scored(model, batch))
        return values.detach(), list(torch.autograd.grad(values.sum(), list(model.parameters())))

    value, slope = evaluate([0, 1, 2, 3])
    padded, padded_slope = evaluate([0, 1, 2, 3], extra=9)
    torch.testing.assert_close(padded, value, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(padded_slope, slope, rtol=1e-6, atol=1e-10)
    if name != "npo":  # its reference belongs to the place here
        turned, turned_slope = evaluate([3, 1, 0, 2])
        torch.testing.assert_close(turned[[2, 1, 3, 0]], value, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(turned_slope, slope, rtol=1e-6, atol=1e-10)
