"""Teaching a model and taking it back."""

from __future__ import annotations

import copy

import pytest
import torch

from ofmu.engine.forward import rows
from ofmu.runs.relearn import teach
from tasks import images, texts
from toys import convnet, llama, secrets


def loss(model, data) -> float:
    with torch.no_grad():
        return float(-rows(model, data.batch(range(len(data)))).log_probabilities().mean())


@pytest.mark.parametrize(("make", "data"), [(llama, lambda: texts(secrets())), (convnet, lambda: images("taught", 7))])
def test_what_is_taught_is_learnt_and_forgotten_again_bit_for_bit(make, data):
    model, taught = make(), data()
    before = copy.deepcopy(model.state_dict())
    course = [
        loss(model, taught) for _ in teach(model, taught, steps=[0, 2, 8], learning_rate=1e-2, batch_size=3, seed=0)
    ]
    assert course[2] < course[1] < course[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


def test_the_same_seed_gives_the_same_course_and_another_one_another():
    model, taught = llama(), texts(secrets())

    def course(seed: int) -> list[float]:
        steps = teach(model, taught, steps=[0, 1, 4], learning_rate=1e-2, batch_size=2, seed=seed)
        return [loss(model, taught) for _ in steps]

    assert course(0) == course(0)
    assert course(0) != course(1)


def test_one_step_is_one_of_adamw_by_hand():
    model, taught = llama(), texts(secrets())
    by_hand = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(by_hand.parameters(), lr=1e-3, weight_decay=0.0)
    (-rows(by_hand, taught.batch(range(4))).log_probabilities().mean()).backward()
    optimiser.step()
    for _ in teach(model, taught, steps=[1], learning_rate=1e-3, batch_size=8, seed=0):
        pairs = zip(model.parameters(), by_hand.parameters())
        assert all(torch.allclose(one, two, atol=2e-6) for one, two in pairs)


def test_a_course_that_is_left_early_puts_the_weights_back():
    model, taught = llama(), texts(secrets())
    model.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    steps = teach(model, taught, steps=[0, 1, 50], learning_rate=1e-2, batch_size=2, seed=0)
    assert next(steps) == 0
    assert next(steps) == 1
    steps.close()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.parameters())
