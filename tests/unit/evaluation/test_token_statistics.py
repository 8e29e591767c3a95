from __future__ import annotations

import pytest
import torch

from ofmu.evaluation import token_statistics as module
from ofmu.evaluation.attack_scores import min_k_plus_plus, standardised
from ofmu.evaluation.token_statistics import token_statistics


def test_the_worked_example_of_min_k_plus_plus():
    p = torch.tensor([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05]], dtype=torch.float64)
    found = token_statistics(p.log(), torch.tensor([0, 1]))
    assert found.z.tolist() == pytest.approx([0.9228, -3.0], abs=5e-4)
    assert min_k_plus_plus(found.z) == pytest.approx(3.0, abs=5e-4)
    assert found.correct.tolist() == [True, False]


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_chunks_give_what_the_whole_gives(monkeypatch, chunk):
    monkeypatch.setattr(module, "_ON_CPU", chunk)
    torch.manual_seed(0)
    logits, labels = torch.randn(23, 40) * 6, torch.randint(0, 40, (23,))
    logits[3, 5] = -torch.inf
    logits[4] = 0  # all alike: no variance, and the first of equals counts
    labels[4] = 0
    found = token_statistics(logits, labels)
    log_p = logits.double().log_softmax(1)
    assert found.log_p.numpy() == pytest.approx(log_p[torch.arange(23), labels].numpy(), abs=1e-5)
    assert found.z.numpy() == pytest.approx(standardised(log_p.numpy(), labels.numpy()), abs=5e-3)
    assert found.correct.tolist() == (logits.argmax(1) == labels).tolist()
    assert found.correct[4]


def test_an_impossible_true_token_and_broken_logits_are_not_hidden():
    logits = torch.tensor([[0.0, -torch.inf], [torch.nan, 0.0]])
    found = token_statistics(logits, torch.tensor([1, 1]))
    assert found.log_p[0] == -torch.inf
    assert torch.isnan(found.log_p[1])
    assert torch.isnan(found.z[1])


def test_no_rows():
    assert [len(column) for column in token_statistics(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long))] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_several_labels_of_one_row_and_equal_maxima(monkeypatch, chunk):
    monkeypatch.setattr(module, "_ON_CPU", chunk)
    torch.manual_seed(1)
    logits = torch.randn(6, 9)
    logits[2, [3, 7]] = 5.0  # two likeliest tokens: the first counts
    row = torch.tensor([4, 2, 2, 0, 2, 5])
    labels = torch.tensor([1, 7, 3, 8, 0, int(logits[5].argmax())])
    found = token_statistics(logits, labels, row)
    alone = token_statistics(logits[row], labels)
    assert found.correct.tolist() == alone.correct.tolist() == (logits[row].argmax(1) == labels).tolist()
    assert found.correct.tolist()[1:3] == [False, True]
    assert torch.equal(found.log_p, alone.log_p)
    assert found.z.numpy() == pytest.approx(alone.z.numpy(), abs=1e-5)
