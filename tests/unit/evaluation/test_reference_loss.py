from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ofmu.data.prompts import Prompts
from ofmu.evaluation.evaluate import measure
from ofmu.evaluation.generation import Generations
from ofmu.evaluation.records import Records
from ofmu.evaluation.reference_loss import reference_losses
from toys import llama

PROMPTS = Prompts(
    ids=("a", "b", "c", "d"),
    clusters=("a", "b", "c", "d"),
    tokens=tuple(np.array(tokens, np.int64) for tokens in ([5, 9], [7], [3, 4, 5], [8, 8])),
    expected=np.ones(4, np.int64),
    ends=(2,),
)


def said(*answers: list[int], broken: int | None = None) -> Generations:
    none = np.zeros((4, 1), dtype=bool)
    bad = none | (np.arange(4) == broken)[:, None]
    tokens = tuple((np.array(answer, np.int32),) for answer in answers)
    return Generations(PROMPTS.ids, PROMPTS.clusters, tokens, none, bad, 8)


def test_a_model_that_knows_nothing_finds_every_token_as_likely():
    model = llama(tie_word_embeddings=False).eval()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    vocabulary = model.config.vocab_size
    found = reference_losses(model, PROMPTS, said([1, 2, 3], [4], [5, 6], [7] * 6)).columns["ref_nll"]
    assert found == pytest.approx([math.log(vocabulary)] * 4, abs=1e-5)


def test_losses_are_those_of_the_answers_tokens_one_by_one():
    model = llama(seed=3, tie_word_embeddings=False).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(8)
    answers = ([11, 12, 13], [14], [15, 16], [7] * 6)
    expected = []
    for prompt, answer in zip(PROMPTS.tokens, answers):
        losses = []
        for t, token in enumerate(answer):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*prompt.tolist(), *answer[:t]]])).logits[0, -1].double()
            losses.append(-float(logits.log_softmax(0)[token]))
        expected.append(sum(losses) / len(losses))
    for batch_size in (1, 16):
        found = reference_losses(model, PROMPTS, said(*answers), batch_size=batch_size)
        assert found.ids == PROMPTS.ids
        assert found.columns["ref_nll"] == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 0.1


def test_silence_has_no_loss_and_broken_logits_an_infinite_one():
    answers = said([], [4], [5, 6], [7] * 6, broken=1)
    found = reference_losses(llama().eval(), PROMPTS, answers, context=7).columns["ref_nll"]
    assert np.isnan(found[[0, 3]]).all()  # no token; eight tokens where seven fit
    assert found[1] == np.inf
    assert np.isfinite(found[2])
    nothing = reference_losses(llama().eval(), PROMPTS, said([], [], [], []))
    assert np.isnan(nothing.columns["ref_nll"]).all()


def test_the_score_is_the_mean_over_answers_that_have_a_loss(text_record):
    facts = {"rep4": np.zeros(3), "ref_nll": np.array([1.0, 4.0, np.nan])}
    record = text_record({"a": [1.0], "b": [1.0], "c": [1.0]}, facts={"zlib_bytes": np.ones(3), **facts})
    records = Records({(role, on): record for role in ("unlearned", "base") for on in ("forget", "retain")})
    found = measure(records)
    score = found["forget_ref_nll"].scores["unlearned"]
    assert (score.value, score.n, list(score.excluded)) == (2.5, 2, ["c"])
    assert (score.direction, found["retain_ref_nll"].scores["unlearned"].direction) == ("as_retrained",) * 2


def test_without_a_base_model_the_score_is_missing_with_its_reason(text_record):
    facts = {"zlib_bytes": np.ones(1), "rep4": np.zeros(1)}
    records = Records({("unlearned", "forget"): text_record({"a": [1.0]}, facts=facts)})
    score = measure(records)["forget_ref_nll"].scores["unlearned"]
    assert math.isnan(score.value)
    assert score.reason == "no base model (--base) that could read the answers"
    silent = Records({("unlearned", "forget"): text_record({"a": [1.0]})})
    assert "forget_ref_nll" not in measure(silent)
