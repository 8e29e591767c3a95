"""Nearness against a naive reference; what is drawn where it is asked for; models without hidden states refused."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ofmu.engine.nearness import head_inputs, nearness
from ofmu.engine.processes import Processes, processes
from ofmu.errors import InputError
from ofmu.methods.grad_ascent import GradAscent
from ofmu.methods.npo import NPO
from ofmu.methods.ofmu import OFMU
from ofmu.models.adapters import add_lora
from ofmu.models.hidden import head_of
from ofmu.models.in_memory import load_in_memory
from ofmu.runs.sampling import near_count, sample_retain
from tasks import make_task
from toys import convnet, llama


@pytest.fixture
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


def text_state(model: Any, data: Any, index: int) -> np.ndarray:
    """The last hidden states of one text alone, averaged over the tokens before the scored ones."""
    batch = data.batch([index])
    with torch.no_grad():
        states = model(batch.input_ids, output_hidden_states=True).hidden_states[-1][0]
    scored = [t - 1 for t in range(1, batch.labels.shape[1]) if batch.labels[0, t] >= 0]
    return np.mean([states[t].double().numpy() for t in scored], axis=0)


def image_state(model: Any, data: Any, index: int) -> np.ndarray:
    """The last features of one image alone, the layers called by hand."""
    with torch.no_grad():
        x = torch.relu(model.conv1(data.batch([index]).pixel_values))
        x = torch.nn.functional.max_pool2d(torch.relu(model.conv2(x)), 2)
        return torch.relu(model.hidden(x.flatten(1)))[0].double().numpy()


def reference(states: Any, model: nn.Module, data: dict[str, Any]) -> list[float]:
    """The mean of the cosines, pair by pair."""
    forget, retain = (
        [states(model, found, k) for k in range(len(found))] for found in (data["forget"], data["retain"])
    )
    centre = (np.mean(forget, axis=0) + np.mean(retain, axis=0)) / 2

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / math.sqrt((x @ x) * (y @ y)))

    return [float(np.mean([cosine(r - centre, f - centre) for f in forget])) for r in retain]


@pytest.mark.parametrize("modality", ["text", "image"])
@pytest.mark.parametrize("part_size", [1, 2, 9])
def test_it_is_the_mean_cosine_of_centred_states(modality: str, part_size: int, ranks: Processes) -> None:
    model, states = (llama(), text_state) if modality == "text" else (convnet(), image_state)
    task = make_task(model, ranks, modality=modality, part_size=part_size)
    found = nearness(task)
    assert found == pytest.approx(reference(states, model, task.data), abs=1e-5)
    assert (np.abs(found) <= 1).all()
    assert found.std() > 0.01
    head = head_of(model)
    assert head is not None
    assert not head._forward_hooks


def test_an_adapter_does_not_hide_the_head(ranks: Processes) -> None:
    plain = nearness(make_task(llama(), ranks))
    adapted = add_lora(load_in_memory(llama(), "text"), 2).model  # at the start its outputs are the model's
    assert nearness(make_task(adapted, ranks)) == pytest.approx(plain, abs=1e-6)
    plain = nearness(make_task(convnet(), ranks, modality="image"))
    adapted = add_lora(load_in_memory(convnet(), "image"), 2, targets=["hidden", "classifier"]).model
    assert nearness(make_task(adapted, ranks, modality="image")) == pytest.approx(plain, abs=1e-6)


class Maps(nn.Module):
    """A classifier whose head is a convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 10, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(pixels))).mean((2, 3))


class Places(nn.Module):
    """A classifier whose head sees every place, channels last, and is used by hand in one form."""

    def __init__(self, by_hand: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.by_hand = nn.Conv2d(1, 6, 3), nn.Linear(6, 10), by_hand

    def forward(self, pixels: Tensor) -> Tensor:
        x = torch.relu(self.body(pixels)).movedim(1, -1)
        if self.by_hand:
            return nn.functional.linear(x.mean((1, 2)), self.head.weight, self.head.bias)
        return self.head(x).mean((1, 2))


@pytest.mark.parametrize("form", [Maps, Places])
def test_a_head_that_sees_places_gives_the_mean_over_them(form: Any, ranks: Processes) -> None:
    model = form()
    task = make_task(model, ranks, modality="image")
    with head_inputs(model) as states:
        h = task.facts(task.watch_retain, states, shape=(6,))
    with torch.no_grad():
        pixels = task.data["retain"].batch(range(9)).pixel_values
        assert h == pytest.approx(torch.relu(model.body(pixels)).mean((2, 3)).numpy(), abs=1e-5)


class Headless(nn.Module):
    """Logits that no layer makes."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1)[:, :10] + self.bias


class HeadFirst(nn.Module):
    """A head that is defined before the body."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body = nn.Linear(5, 10), nn.Linear(64, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.body(pixels.flatten(1)))


@pytest.mark.parametrize("model", [Headless(), HeadFirst(), Places(by_hand=True)], ids=lambda m: type(m).__name__)
def test_a_model_whose_hidden_states_cannot_be_seen_is_refused_before_anything_is_drawn(
    model: nn.Module, ranks: Processes
) -> None:
    task = make_task(model, ranks, modality="image")
    with pytest.raises(InputError, match=f"{type(model).__name__}: no layer was seen to make its logits"):
        sample_retain(task, asked("near"), print)


def asked(kind: str, near_share: float | None = 0.5, method: Any = OFMU, **options: Any) -> Any:
    return SimpleNamespace(retain_sampling=kind, near_share=near_share, method=method(**options))


@pytest.mark.parametrize("kind", ["near", "mixed"])
def test_batches_come_from_where_they_should_and_go_on_after_a_stop(kind: str, ranks: Processes) -> None:
    told: list[str] = []

    def begun() -> Any:
        task = make_task(llama(), ranks, batch_size=4)
        (note,) = sample_retain(task, asked(kind), told.append)
        assert note.startswith("4 of 9 retain examples count as near the forget set; ")
        return task

    task = begun()
    near = set(np.argsort(-nearness(task))[:4].tolist())
    assert told == []  # nothing is computed before the first draw
    batches = [task.draw("retain").indices for _ in range(8)]
    assert told == ["looking for the retain examples near the forget set"]
    inside = Counter(sum(index in near for index in batch) for batch in batches)
    assert inside == ({4: 8} if kind == "near" else {2: 8})
    assert {index for batch in batches for index in batch} == (near if kind == "near" else set(range(9)))
    again = begun()
    again.load_state_dict(task.state_dict())
    assert [again.draw("retain").indices for _ in range(5)] == [task.draw("retain").indices for _ in range(5)]
    assert len(told) == 1  # the groups came with the state: the model may have changed since


@pytest.mark.parametrize(
    ("total", "batch", "share", "mixed", "count"),
    [
        (3600, 16, 0.25, False, 900),
        (3600, 16, 0.25, True, 900),
        (20, 16, 0.25, False, 16),  # a batch at least
        (20, 16, 0.25, True, 8),  # half a batch at least
        (16, 16, 0.25, True, 8),
        (30, 16, 0.9, True, 22),  # and half a batch of others
        (5, 5, 0.1, True, 3),
        (2, 16, 0.25, True, 1),
    ],
)
def test_a_batch_finds_enough_on_either_side(total: int, batch: int, share: float, mixed: bool, count: int) -> None:
    found = near_count(total, min(batch, total), share, mixed=mixed)
    assert found == count
    sizes = (found, total - found) if mixed else (found,)
    half = (min(batch, total) - min(batch, total) // 2, min(batch, total) // 2)
    assert all(size >= need for size, need in zip(sizes, half if mixed else (min(batch, total),)))


def test_what_cannot_be_or_has_no_effect_is_refused(ranks: Processes) -> None:
    one, all_of_it = (make_task(llama(), ranks, batch_size=size) for size in (1, 9))
    for task, config, words in (
        (one, asked("mixed"), "one holds a single retain example: take a larger --batch-size"),
        (all_of_it, asked("near"), "would take all 9 retain examples"),
        (one, asked("uniform"), "--near-share goes with --retain-sampling near or mixed"),
        (one, asked("near", method=GradAscent), "grad_ascent with these options trains on no retain examples"),
        (one, asked("near", method=NPO, alpha=0.0), "npo with these options trains on no retain examples"),
    ):
        with pytest.raises(InputError, match=words):
            sample_retain(task, config, print)
    with pytest.raises(InputError, match="a single retain example: leave it out"):
        near_count(1, 1, 0.5, mixed=True)
    assert sample_retain(one, asked("uniform", None), print) == ()
    assert one.strata == {}
    assert sample_retain(one, asked("near", None), print) != ()
