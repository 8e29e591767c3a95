"""Documents longer than the context: each token read once, and what comes of it as perplexity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from ofmu.data.formats import read
from ofmu.data.tokens import TokenSet, encode_text
from ofmu.evaluation.documents import document_losses
from ofmu.evaluation.metric import SetMean
from ofmu.evaluation.metrics import find
from ofmu.evaluation.perplexity import windows
from ofmu.evaluation.records import Records
from toys import llama, tokenizer

C = 12


def encoded(*texts: str) -> TokenSet:
    examples: Any = read([{"text": text} for text in texts])
    return encode_text(examples, tokenizer(), max_length=10_000)


TEXTS = ("Clerk 7 lives in Oslo, and has lived there ever since the war.", "No.", "Clerk 8 moved to Bonn.")


def test_every_token_but_the_first_is_read_once_as_the_windows_say():
    model, documents = llama(max_position_embeddings=C), encoded(*TEXTS)
    found = document_losses(model, documents, C, batch_size=2).columns
    for number, length in enumerate(documents.lengths.tolist()):
        tokens = torch.from_numpy(documents.tokens[documents.part(number)]).long()
        losses = []
        for window in windows(length, C):
            with torch.no_grad():
                log_p = model(input_ids=tokens[None, window.start : window.end]).logits[0].double().log_softmax(-1)
            losses += [
                -float(log_p[at - 1 - window.start, tokens[at]]) for at in range(window.first_scored, window.end)
            ]
        assert len(losses) == length - 1 == found["document_tokens"][number]
        assert found["document_nll"][number] == pytest.approx(sum(losses), abs=1e-4)


def test_logits_that_are_not_finite_are_not_hidden():
    model, documents = llama(max_position_embeddings=C, tie_word_embeddings=False), encoded("No.", "A Zoo")
    with torch.no_grad():
        model.model.embed_tokens.weight[documents.tokens[-3]] = torch.nan  # "Z"
    found = document_losses(model, documents, C).columns["document_nll"]
    assert np.isposinf(found).tolist() == [False, True]


def of(text_record: Any, losses: list[float], tokens: list[float], sizes: list[float]) -> Records:
    ids = [str(number) for number in range(len(losses))]
    facts = {"document_nll": losses, "document_tokens": tokens, "utf8_bytes": sizes}
    record = text_record({i: [1.0] for i in ids}, facts={name: np.array(each) for name, each in facts.items()})
    return Records({("unlearned", "retain"): record})


def score(name: str, records: Records) -> Any:
    (own,) = find(name).over(records)
    return own.score(records)


def test_the_worked_example(text_record):
    records = of(text_record, [2.0, 16.0], [2.0, 8.0], [3.0, 5.0])
    found = score("perplexity", records)
    assert found.value == pytest.approx(6.050, abs=5e-4)
    assert (found.name, found.direction, found.n, found.per_sample) == (
        "retain_perplexity",
        "down",
        2,
        {"0": 2, "1": 16},
    )
    assert score("perplexity_doc", records).value == pytest.approx(5.054, abs=5e-4)
    assert score("bits_per_byte", records).value == pytest.approx(18 / (8 * math.log(2)))


def test_where_the_exponential_overflows_the_loss_is_said(text_record):
    records = of(text_record, [8000.0, 8000.0], [8.0, 8.0], [3.0, 5.0])
    found = score("perplexity", records)
    assert math.isnan(found.value)
    assert found.reason == "beyond any number: the loss is 1000 nats"
    assert math.isnan(score("perplexity_doc", records).value)
    assert score("bits_per_byte", records).value == pytest.approx(16000 / (8 * math.log(2)))


def test_the_interval_is_that_of_a_ratio(text_record):
    """All documents have the same λ: however many tokens a draw has, the ratio is the same."""
    tokens = np.arange(1.0, 21)
    found = score("perplexity", of(text_record, (1.5 * tokens).tolist(), tokens.tolist(), tokens.tolist()))
    assert found.interval == pytest.approx((math.exp(1.5), math.exp(1.5)))


def test_what_is_no_document_has_no_perplexity(text_record):
    none = Records({("unlearned", "retain"): text_record({"a": [1.0]})})
    assert find("perplexity").over(none) == []
    records = of(text_record, [2.0, math.nan], [2.0, 3.0], [3.0, 5.0])  # an answer to a question
    found = score("bits_per_byte", records)
    assert (found.n, list(found.excluded)) == (1, ["1"])
    assert found.value == pytest.approx(2 / (3 * math.log(2)))
    assert isinstance(find("perplexity").over(records)[0], SetMean)
