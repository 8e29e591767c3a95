"""Batches in parts: the same loss and gradient, counted exactly; rows against a loop over whole logits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ofmu.core.derivatives import FiniteDifference
from ofmu.engine.forward import rows_with_content
from ofmu.engine.loss import BatchLoss, Draw
from ofmu.engine.meter import Meter
from ofmu.engine.processes import Processes, processes
from ofmu.losses import nll, npo
from tasks import images, make_task, sets, texts
from toys import convnet, facts, llama, secrets


@pytest.fixture
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


def loss_of(model: nn.Module, draw: Draw, per: str, size: int, ranks: Processes, meter: Meter) -> BatchLoss:
    values = {"tokens": lambda r, _: nll(r), "examples": lambda r, _: npo(r, torch.full((len(r.ids),), 4.0), 0.1)}
    return BatchLoss(model, values[per], draw, per=per, processes=ranks, meter=meter, part_size=size)


class Wide(nn.Module):
    """A classifier in float64, for images in float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixels.double()).logits


@pytest.mark.parametrize("per", ["tokens", "examples"])
@pytest.mark.parametrize("modality", ["text", "image"])
def test_parts_of_any_size_add_up_to_the_same(modality: str, per: str, ranks: Processes) -> None:
    model = llama().double() if modality == "text" else Wide(convnet().double())
    data = texts(facts(range(10))) if modality == "text" else images("retain", 10)
    draw = Draw(data, (9, 0, 4, 2, 2, 7, 1, 5))  # eight, one of them twice
    found = {}
    for size in (8, 4, 2, 1, 3):
        meter = Meter(batch_size=8)
        loss = loss_of(model, draw, per, size, ranks, meter)
        assert len(loss) == -(-8 // size)
        gradient = FiniteDifference(dict(model.named_parameters())).gradient(loss)
        assert (meter.gradients, meter.forwards) == (1, 0)
        with torch.no_grad():
            whole = sum(float(part()) for part in loss)
        assert (meter.gradients, meter.forwards) == (1, 1)
        found[size] = (gradient, loss.value, loss.nll)
        assert loss.value == pytest.approx(whole, rel=1e-12)
    for gradient, value, mean in found.values():
        assert value == pytest.approx(found[8][1], rel=1e-12)
        assert mean == pytest.approx(found[8][2], rel=1e-6)
        assert float((gradient - found[8][0]).norm()) < 1e-9 * float(gradient.norm())


def test_the_denominator_counts_tokens_of_the_whole_batch(ranks: Processes) -> None:
    model, data = llama().double(), texts(facts(range(4)))
    assert len(set(data.counts.tolist())) > 1  # lengths differ, or this would show nothing
    loss = loss_of(model, Draw(data, (0, 1, 2, 3)), "tokens", 1, ranks, Meter(4))
    total, tokens = 0.0, 0
    for index in range(4):
        batch = data.batch([index])
        with torch.no_grad():
            logits = model(input_ids=batch.input_ids).logits[0].log_softmax(-1)
        for place in range(1, batch.labels.shape[1]):
            if batch.labels[0, place] >= 0:
                total, tokens = total - float(logits[place - 1, batch.labels[0, place]]), tokens + 1
    assert sum(float(part().detach()) for part in loss) == pytest.approx(total / tokens, rel=1e-10)


def test_rows_are_the_scored_positions_of_whole_logits() -> None:
    """Right padding, several lengths; with `logits_to_keep` and for a model that has no such thing."""

    class Bare(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Tensor, attention_mask: Tensor, use_cache: bool = False) -> Tensor:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    model = llama().double()
    batch = texts([*secrets()[:1], *facts(range(3))]).batch([3, 0, 1])
    with torch.no_grad():
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        found = [rows_with_content(candidate, batch) for candidate in (model, Bare(model))]
    wanted = [
        (logits[b, t - 1], int(batch.labels[b, t]), b, bool(batch.content[b, t]))
        for b in range(3)
        for t in range(1, batch.labels.shape[1])
        if batch.labels[b, t] >= 0
    ]
    assert len({b for _, _, b, _ in wanted}) == 3
    for rows, content in found:
        torch.testing.assert_close(rows.logits, torch.stack([row for row, *_ in wanted]))
        assert rows.labels.tolist() == [label for _, label, _, _ in wanted]
        assert rows.example.tolist() == [b for _, _, b, _ in wanted]
        assert content.tolist() == [c for *_, c in wanted]
        assert rows.ids == batch.ids


def test_half_precision_logits_are_widened(ranks: Processes) -> None:
    batch = texts(facts(range(2))).batch([0, 1])
    assert rows_with_content(llama().to(torch.bfloat16), batch)[0].logits.dtype == torch.float32
    assert rows_with_content(llama().double(), batch)[0].logits.dtype == torch.float64


def test_draws_are_no_larger_than_the_set_and_each_example_comes_once_a_shuffle(ranks: Processes) -> None:
    task = make_task(llama(), ranks, batch_size=16)
    assert sorted(task.draw("forget").indices) == [0, 1, 2, 3]
    task = make_task(convnet(), ranks, modality="image", batch_size=3)
    seen = [i for _ in range(7) for i in task.draw("forget").indices]
    assert sorted(seen) == sorted(list(range(7)) * 3)
    state = task.state_dict()
    ahead = [task.draw("retain").indices for _ in range(4)]
    task.load_state_dict(state)
    assert [task.draw("retain").indices for _ in range(4)] == ahead


def test_facts_come_in_order_whatever_the_parts_and_are_counted_as_forward_passes(ranks: Processes) -> None:
    data = sets("text")["retain"]
    found = []
    for size in (1, 4, 32):
        task = make_task(llama().double(), ranks, part_size=size, batch_size=3)
        found.append(task.facts(Draw(data, (8, 2, 5, 0))))
        assert (task.meter.gradients, task.meter.forwards) == (0, 4 / 3)
    single = [float(task.facts(Draw(data, (i,)))[0]) for i in (8, 2, 5, 0)]
    for values in found:
        assert values.tolist() == pytest.approx(single, rel=1e-6)
