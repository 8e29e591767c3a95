from __future__ import annotations

import numpy as np
import pytest
import torch

from ofmu.data.formats import read
from ofmu.data.tokens import encode_text
from ofmu.errors import InputError
from ofmu.evaluation.gradient_norms import gradient_norms
from toys import facts, llama, tokenizer


@pytest.fixture(scope="module")
def encoded():
    return encode_text(read(facts(range(5))), tokenizer(), max_length=96)


def slowly(model, encoded, names=None) -> list[list[float]]:
    """Norms of all tensors for each example, with .backward() and all logits."""
    norms = []
    for index in range(len(encoded)):
        batch = encoded.batch([index])
        model.zero_grad()
        log_p = model(input_ids=batch.input_ids).logits[0, :-1].log_softmax(-1)
        own = log_p[torch.arange(len(log_p)), batch.input_ids[0, 1:]]
        (-own[batch.content[0, 1:]].mean()).backward()
        norms.append(
            [p.grad.double().norm().item() for n, p in model.named_parameters() if names is None or n in names]
        )
    model.zero_grad()
    return norms


def test_norms_are_those_of_the_slow_way(encoded):
    model = llama(seed=4)
    expected = np.array(slowly(model, encoded))
    assert gradient_norms(model, encoded) == pytest.approx(np.sqrt((expected**2).sum(1)), rel=1e-5)
    assert gradient_norms(model, encoded, form="mean_of_tensors") == pytest.approx(expected.mean(1), rel=1e-5)


def test_a_subset_of_layers(encoded):
    model = llama(seed=4)
    names = [n for n, _ in model.named_parameters() if "layers.1.mlp" in n]
    expected = np.array(slowly(model, encoded, names))
    found = gradient_norms(model, encoded, layers=["*layers.1.mlp.*"])
    assert found == pytest.approx(np.sqrt((expected**2).sum(1)), rel=1e-5)
    with pytest.raises(InputError, match="no parameter is called nothing"):
        gradient_norms(model, encoded, layers=["nothing"])


def test_the_model_is_left_as_it_was(encoded):
    model = llama(seed=4, attention_dropout=0.5).train()
    model.model.norm.weight.requires_grad_(False)
    model.lm_head.weight.grad = torch.ones_like(model.lm_head.weight)
    first = gradient_norms(model, encoded)
    assert np.array_equal(first, gradient_norms(model, encoded))  # no dropout
    assert model.training
    assert not model.model.norm.weight.requires_grad
    assert torch.equal(model.lm_head.weight.grad, torch.ones_like(model.lm_head.weight))
    assert model.model.layers[0].mlp.up_proj.weight.grad is None


def test_a_broken_model_has_no_small_norm(encoded):
    model = llama(seed=4)
    with torch.no_grad():
        model.lm_head.weight[5] = torch.nan
    assert np.isinf(gradient_norms(model, encoded)).all()
