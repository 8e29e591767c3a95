from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from ofmu.data.examples import ImageExamples
from ofmu.data.images import ImageSet
from ofmu.data.tokens import TokenSet
from ofmu.evaluation.scoring import image_facts, score
from ofmu.losses.rows import Rows

LENGTHS = [5, 11, 3, 8, 11, 2, 7, 9]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=37, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def encoded() -> TokenSet:
    rng = np.random.default_rng(0)
    total = sum(LENGTHS)
    scored = np.ones(total, dtype=bool)
    ends = np.cumsum(LENGTHS)
    content = scored.copy()
    content[ends - 1] = False  # the end of turn
    for start, length in zip(ends - LENGTHS, LENGTHS):
        scored[start : start + max(1, length // 2)] = False
    return TokenSet(
        ids=tuple(f"e{index}" for index in range(len(LENGTHS))),
        clusters=tuple(f"c{index // 2}" for index in range(len(LENGTHS))),
        tokens=rng.integers(1, 37, size=total).astype(np.int32),
        scored=scored,
        content=content & scored,
        lengths=np.array(LENGTHS),
        counts=np.array([length - max(1, length // 2) for length in LENGTHS]),
        dropped=("lost", "long"),
        too_long=("long",),
    )


def test_every_token_is_as_a_loop_over_single_examples_says(model, encoded):
    record = score(model, encoded, batch_size=3)
    assert record.ids == encoded.ids
    assert record.clusters == encoded.clusters
    row = 0
    for index, (end, length) in enumerate(zip(np.cumsum(LENGTHS), LENGTHS)):
        tokens = torch.tensor(encoded.tokens[end - length : end].astype(np.int64))
        with torch.no_grad():
            logits = model(tokens[None]).logits[0].double()
        position = 0
        for t in range(1, length):
            if encoded.scored[end - length + t]:
                assert record.example[row] == index
                assert record.columns["position"][row] == position
                loss = -logits[t - 1].log_softmax(0)[tokens[t]].item()
                assert record.columns["nll"][row] == pytest.approx(loss, abs=1e-5)
                assert record.columns["correct"][row] == (logits[t - 1].argmax() == tokens[t]).item()
                assert record.columns["content"][row] == encoded.content[end - length + t]
                row, position = row + 1, position + 1
    assert row == len(record.example)


def test_the_batch_size_changes_nothing_that_matters_and_a_second_run_nothing(model, encoded):
    one = score(model, encoded, batch_size=1)
    for size in (2, 3, 16):
        other = score(model, encoded, batch_size=size)
        assert np.abs(other.columns["nll"] - one.columns["nll"]).max() < 1e-4
        assert np.array_equal(other.example, one.example)
    again = score(model, encoded, batch_size=1)
    assert all(np.array_equal(again.columns[name], one.columns[name]) for name in one.columns)


def test_what_cannot_be_scored_is_listed_with_its_reason(model, encoded):
    record = score(model, encoded, fingerprint="abc")
    assert set(record.excluded) == {"lost", "long"}
    assert "context" in record.excluded["long"]
    assert (record.model, record.data, record.classes) == ("abc", encoded.fingerprint, 37)


def test_each_module_gets_its_mode_back_after_an_exception_too(encoded):
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1), nn.Dropout(0.5))

        def forward(self, input_ids, attention_mask, use_cache):
            assert not any(module.training for module in self.modules())
            raise MemoryError("boom")

    model = Broken().train()
    model.layers[2].eval()
    with pytest.raises(MemoryError, match="boom"):
        score(model, encoded)
    assert [module.training for module in model.modules()] == [True, True, True, True, False]


def test_facts_of_an_image_are_the_worked_example():
    logits = torch.tensor([[0.7, 0.2, 0.1]] * 2).log()
    facts = image_facts(Rows(logits, torch.tensor([0, 1]), torch.arange(2), ("a", "b")))
    assert facts["confidence"] == pytest.approx([0.7, 0.2], abs=1e-7)
    assert facts["margin"][0] == pytest.approx(0.8473, abs=5e-5)
    assert facts["entropy"] == pytest.approx([0.8018, 0.8018], abs=5e-5)
    assert facts["modified_entropy"] == pytest.approx([0.1622, 2.1409], abs=5e-5)
    assert facts["nll"] == pytest.approx(-np.log([0.7, 0.2]), abs=1e-7)
    assert facts["predicted"].tolist() == [0, 0]


def test_facts_of_very_sure_images_stay_finite_and_apart():
    logits = torch.tensor([[50.0, 0.0], [60.0, 0.0], [900.0, 0.0]])
    rows = Rows(logits, torch.tensor([0, 0, 0]), torch.arange(3), ("a", "b", "c"))
    right = image_facts(rows)
    assert right["margin"] == pytest.approx([50, 60, 900])
    assert (right["modified_entropy"] >= 0).all()
    assert right["modified_entropy"][0] > right["modified_entropy"][1] > 0
    wrong = image_facts(Rows(logits, torch.tensor([1, 1, 1]), torch.arange(3), ("a", "b", "c")))
    assert wrong["nll"] == pytest.approx([50, 60, 900])
    assert all(np.isfinite(column).all() for column in wrong.values())


def test_images_come_back_in_order_with_their_labels():
    pixels = np.zeros((5, 2, 2, 1), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(5) * 10
    labels = np.array([0, 1, 0, 1, 0])
    names = tuple("abcde")
    examples = ImageExamples(names, names, pixels, labels, None, "made here")
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    batches = ImageSet(examples, lambda shown: torch.from_numpy(shown).permute(0, 3, 1, 2).double())
    record = score(classifier, batches, batch_size=2)
    expected = classifier(torch.from_numpy(pixels).permute(0, 3, 1, 2).double()).log_softmax(1)
    assert record.columns["nll"] == pytest.approx(-expected.detach().numpy()[np.arange(5), labels], abs=1e-12)
    assert record.columns["label"].tolist() == labels.tolist()
    assert record.ids == names
    assert record.classes == 2
