"""Real models on real data: the figures that come with them, measured again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofmu.data.examples import TextExamples
from ofmu.data.formats import read
from ofmu.data.tokens import encode_text
from ofmu.evaluation.evaluate import measure
from ofmu.evaluation.records import Records
from ofmu.evaluation.scoring import score
from ofmu.models.loading import load


@pytest.fixture(scope="module")
def records(data_dir: Path) -> Records:
    found = Records()
    for role, name in (("original", "full"), ("retrained", "retain90")):
        loaded = load(data_dir / "models" / "tofu-mini" / name)
        for set_name, file in (("forget", "forget10"), ("holdout", "holdout10")):
            examples = read(data_dir / "tofu" / f"{file}.jsonl", name=set_name)
            assert isinstance(examples, TextExamples)
            encoded = encode_text(examples, loaded.tokenizer, max_length=loaded.context or 256)
            found.add(role, set_name, score(loaded.model, encoded, fingerprint=loaded.fingerprint))
    return found


@pytest.mark.slow
def test_the_figures_that_come_with_the_models(records):
    found = measure(records)
    expected = {
        "original": {"forget_probability": 0.925, "forget_loss": 0.081, "holdout_loss": 6.296, "mia_loss": 1.0},
        "retrained": {"forget_probability": 0.007, "forget_loss": 5.932, "holdout_loss": 6.726, "mia_loss": 0.686},
    }
    for role, figures in expected.items():
        for name, value in figures.items():
            score = found[name].scores[role]
            assert score.value == pytest.approx(value, abs=6e-4), (role, name)
            assert score.interval is not None
    assert found["forget_loss"].scores["original"].n == 400
    assert found["forget_loss"].scores["original"].clusters == 20
    assert found["mia_loss"].scores["original"].residual == pytest.approx(1)
